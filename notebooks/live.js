// Live figures: the coursework's algorithm as in mf_core.py, bit for bit, and the figures that run it in the page.
"use strict";
window.mf ??= (() => {
  // ------------------------------------------------------------------------------------------------- the algorithm
  const f = Math.fround; // to float32, as mf_core computes: every product and every sum is rounded

  // What torch.rand draws from this seed: the Mersenne Twister MT19937; of its 32 bits, 24 are kept, divided by 2^24.
  function rand(seed, count) {
    const state = new Uint32Array(624), numbers = new Float32Array(count);
    state[0] = seed;
    for (let k = 1; k < 624; k++) {
      state[k] = Math.imul(1812433253, state[k - 1] ^ (state[k - 1] >>> 30)) + k;
    }
    for (let n = 0; n < count; n++) {
      const k = n % 624;
      const y = (state[k] & 0x80000000) | (state[(k + 1) % 624] & 0x7fffffff);
      let x = state[(k + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      state[k] = x;
      x ^= x >>> 11;
      x ^= (x << 7) & 0x9d2c5680;
      x ^= (x << 15) & 0xefc60000;
      x ^= x >>> 18;
      numbers[n] = (x & 0xffffff) / 2 ** 24;
    }
    return numbers;
  }

  // mf_core's sgd_factorize, or sgd_factorize_masked where a mask M is given; A and M are arrays of rows.
  // callback(epoch, U, V) is called after every epoch; a true return ends the run. Factors that stop being finite
  // raise an Error with mf_core's message; its `epoch` says how many epochs had ended well.
  function sgd({ A, M, rank, num_epochs = 1000, lr = 0.01, seed = 0, callback }) {
    A = A.map(row => Float32Array.from(row));
    const m = A.length, n = A[0].length, start = rand(seed, (m + n) * rank);
    const rows = (first, count) =>
      Array.from({ length: count }, (_, i) => start.slice((first + i) * rank, (first + i + 1) * rank));
    const U = rows(0, m), V = rows(m, n);
    let epoch = 0;
    lr = f(lr);
    while (epoch < num_epochs) {
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          if (M && !M[i][j]) continue;
          let dot = 0;
          for (let k = 0; k < rank; k++) dot = f(dot + f(U[i][k] * V[j][k]));
          const e = f(A[i][j] - dot);
          const step = f(lr * e);
          for (let k = 0; k < rank; k++) {
            U[i][k] += f(step * V[j][k]); // the sums are rounded when they are stored as float32
            V[j][k] += f(step * U[i][k]);
          }
        }
      }
      if (![...U, ...V].every(row => row.every(Number.isFinite))) {
        const message = `the factors stopped being finite in epoch ${epoch + 1} of ${num_epochs}: ` +
          `lr = ${general(lr, 6)} is too large here; try a smaller one, ${general(f(lr / 10), 1)} or less`;
        throw Object.assign(new Error(message), { epoch });
      }
      epoch++;
      if (callback?.(epoch, U, V)) break;
    }
    return { U: U.map(row => [...row]), V: V.map(row => [...row]), loss: loss(A, U, V, M), epoch };
  }

  // mf_core's reconstruction_loss: errors and sum in double precision, the result in single.
  function loss(A, U, V, M) {
    let total = 0;
    for (let i = 0; i < U.length; i++) {
      for (let j = 0; j < V.length; j++) {
        if (M && !M[i][j]) continue;
        let e = A[i][j];
        for (let k = 0; k < U[i].length; k++) e -= U[i][k] * V[j][k];
        total += e * e;
      }
    }
    return f(total);
  }

  // The number as Python's format "g" writes it, with so many digits.
  function general(x, digits) {
    const [mantissa, power] = x.toExponential(digits - 1).split("e").map(Number);
    const exponent = `e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
    return power < -4 || power >= digits ? mantissa + exponent : String(Number(x.toPrecision(digits)));
  }

  return { rand, sgd, loss };
})();
