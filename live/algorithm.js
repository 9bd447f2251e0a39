// The coursework's algorithm in the page: what mf_core.py computes, bit for bit.
//
// A is the matrix, M its mask (true where an entry is observed), U and V are the factors: arrays of rows.
// mf_core computes in float32, so every product and every sum is rounded to it here as well.
"use strict";

window.mf = (() => {
  const { fround } = Math;

  // What torch.rand draws from this seed: the Mersenne Twister MT19937. Of the 32 bits of a word, torch
  // keeps the lower 24 and divides by 2^24.
  function rand(seed, count) {
    const size = 624;
    const state = new Uint32Array(size);
    state[0] = seed;
    for (let k = 1; k < size; k++) {
      state[k] = Math.imul(1812433253, state[k - 1] ^ (state[k - 1] >>> 30)) + k;
    }
    const numbers = new Float32Array(count);
    for (let drawn = 0; drawn < count; drawn++) {
      const k = drawn % size;
      const joined = (state[k] & 0x80000000) | (state[(k + 1) % size] & 0x7fffffff);
      const twist = joined & 1 ? 0x9908b0df : 0;
      state[k] = state[(k + 397) % size] ^ (joined >>> 1) ^ twist;
      let word = state[k];
      word ^= word >>> 11;
      word ^= (word << 7) & 0x9d2c5680;
      word ^= (word << 15) & 0xefc60000;
      word ^= word >>> 18;
      numbers[drawn] = (word & 0xffffff) / 2 ** 24;
    }
    return numbers;
  }

  // The observed entries of a dense A, row by row. Ratings come in this form: as lists of the rows, columns
  // and values of all entries, and the shape of A.
  function entriesOf(A, M) {
    const entries = { rows: [], cols: [], values: [], shape: [A.length, A[0].length] };
    for (let i = 0; i < A.length; i++) {
      for (let j = 0; j < A[i].length; j++) {
        if (M && !M[i][j]) continue;
        entries.rows.push(i);
        entries.cols.push(j);
        entries.values.push(A[i][j]);
      }
    }
    return entries;
  }

  // sgd_factorize, or sgd_factorize_masked where M or entries are given. callback(epoch, U, V) is called
  // after every epoch.
  function sgd({ A, M, entries = entriesOf(A, M), callback, ...settings }) {
    let run;
    for (run of epochs({ entries, ...settings })) {
      if (run.epoch > 0) callback?.(run.epoch, run.U, run.V);
    }
    const { U, V } = run;
    return { U, V, loss: squaredError(entries, U, V) };
  }

  // The run; null if it diverges.
  function runOnce(call) {
    try {
      return sgd(call);
    } catch {
      return null;
    }
  }

  // Adds to the runs of the seeds 0, 1, ... for some milliseconds, and says whether some are left: between
  // such slices a page is free to answer.
  function runSlice(runs, count, call) {
    const end = performance.now() + 6;
    while (runs.length < count && performance.now() < end) {
      runs.push(runOnce({ ...call, seed: runs.length }));
    }
    return runs.length < count;
  }

  // The same run as sgd's, which stops at the start and after every epoch. init holds the factors to start from, row
  // after row, U before V. Throws mf_core's message when the factors stop being finite.
  function* epochs({ A, M, entries = entriesOf(A, M), rank, num_epochs = 1000, lr = 0.01, weight_decay = 0, seed = 0, init }) {
    const { rows, cols, values, shape: [m, n] } = entries;
    const rate = fround(lr);
    const decay = fround(rate * fround(weight_decay));
    const factors = init ? init.slice() : rand(seed, (m + n) * rank);
    const row = i => factors.subarray(i * rank, (i + 1) * rank);
    const U = Array.from({ length: m }, (_, i) => row(i));
    const V = Array.from({ length: n }, (_, j) => row(m + j));
    yield { epoch: 0, U, V };
    for (let epoch = 1; epoch <= num_epochs; epoch++) {
      for (let p = 0; p < values.length; p++) {
        update(U[rows[p]], V[cols[p]], fround(values[p]), rate, decay);
      }
      if (!allFinite(factors)) {
        throw new Error(
          `the factors stopped being finite in epoch ${epoch} of ${num_epochs}: ` +
          `lr = ${general(rate, 6)} is too large here; try a smaller one`
        );
      }
      yield { epoch, U, V };
    }
  }

  // One step of SGD, at the entry a of A: u is its row of U, v its row of V. As in the coursework, the
  // error comes before both updates, and v's update takes the new u. decay is rate times weight decay.
  function update(u, v, a, rate, decay) {
    let dot = 0;
    for (let k = 0; k < u.length; k++) {
      dot = fround(dot + fround(u[k] * v[k]));
    }
    const error = fround(a - dot);
    const step = fround(rate * error);
    for (let k = 0; k < u.length; k++) {
      u[k] += fround(fround(step * v[k]) - fround(decay * u[k])); // storing rounds the sum: u, v are float32
      v[k] += fround(fround(step * u[k]) - fround(decay * v[k]));
    }
  }

  // A sum in double precision is finite if and only if all its float32 numbers are.
  function allFinite(numbers) {
    let sum = 0;
    for (let k = 0; k < numbers.length; k++) {
      sum += numbers[k];
    }
    return Number.isFinite(sum);
  }

  // The sum of squared errors: errors and sum in double precision, the result in single.
  function squaredError({ rows, cols, values }, U, V) {
    let total = 0;
    for (let p = 0; p < values.length; p++) {
      const u = U[rows[p]];
      const v = V[cols[p]];
      let error = fround(values[p]);
      for (let k = 0; k < u.length; k++) {
        error -= u[k] * v[k];
      }
      total += error * error;
    }
    return fround(total);
  }

  // The number as Python's format "g" writes it, with so many digits.
  function general(x, digits) {
    const [mantissa, exponent] = x.toExponential(digits - 1).split("e").map(Number);
    if (exponent >= -4 && exponent < digits) return String(Number(x.toPrecision(digits)));
    const sign = exponent < 0 ? "-" : "+";
    return `${mantissa}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }

  function dot(u, v) {
    return u.reduce((sum, x, k) => sum + x * v[k], 0);
  }

  function product({ U, V }) {
    return U.map(u => V.map(v => dot(u, v)));
  }

  function determinant([[a, b, c], [d, e, f], [g, h, i]]) {
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  }

  // The singular values of X, the largest first: its columns are turned, two at a time, until all are at right
  // angles (Jacobi); then they are as long as the singular values.
  function singularValues(X) {
    const columns = X[0].map((_, j) => X.map(row => row[j]));
    for (let sweep = 0; sweep < 4; sweep++) {
      for (let j = 1; j < columns.length; j++) {
        for (let k = 0; k < j; k++) {
          const [p, q] = [columns[k], columns[j]];
          const angle = Math.atan2(2 * dot(p, q), dot(p, p) - dot(q, q)) / 2;
          const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
          columns[k] = p.map((x, i) => cosine * x + sine * q[i]);
          columns[j] = q.map((x, i) => cosine * x - sine * p[i]);
        }
      }
    }
    return columns.map(column => Math.sqrt(dot(column, column))).sort((x, y) => y - x);
  }

  function bytesOf(base64) {
    return Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
  }

  // Vectors that came as whole numbers of 16 bits, each in a unit of its own.
  function unpack({ int16, units }) {
    const numbers = new Int16Array(bytesOf(int16).buffer);
    const count = numbers.length / units.length;
    return units.map((unit, k) => Float64Array.from(numbers.subarray(k * count, (k + 1) * count), x => unit * x));
  }

  const algorithm = { rand, sgd, runSlice, epochs, squaredError, general };
  return { ...algorithm, dot, product, determinant, singularValues, bytesOf, unpack };
})();
