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

  // sgd_factorize, or sgd_factorize_masked where M is given. callback(epoch, U, V) is called after every
  // epoch. Throws mf_core's message when the factors stop being finite.
  function sgd({ A, M, rank, num_epochs = 1000, lr = 0.01, seed = 0, callback }) {
    const m = A.length;
    const n = A[0].length;
    const rate = fround(lr);
    const factors = rand(seed, (m + n) * rank); // U is drawn before V
    const row = i => factors.subarray(i * rank, (i + 1) * rank);
    const U = Array.from({ length: m }, (_, i) => row(i));
    const V = Array.from({ length: n }, (_, j) => row(m + j));
    for (let epoch = 1; epoch <= num_epochs; epoch++) {
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          if (!M || M[i][j]) update(U[i], V[j], fround(A[i][j]), rate);
        }
      }
      if (!allFinite(factors)) {
        throw new Error(
          `the factors stopped being finite in epoch ${epoch} of ${num_epochs}: ` +
          `lr = ${general(rate, 6)} is too large here; ` +
          `try a smaller one, ${general(fround(rate / 10), 1)} or less`
        );
      }
      callback?.(epoch, U, V);
    }
    return { U, V, loss: loss(A, U, V, M) };
  }

  // One step of SGD, at the entry a of A: u is its row of U, v its row of V. As in the coursework, the
  // error comes before both updates, and v's update takes the new u.
  function update(u, v, a, rate) {
    let dot = 0;
    for (let k = 0; k < u.length; k++) {
      dot = fround(dot + fround(u[k] * v[k]));
    }
    const error = fround(a - dot);
    const step = fround(rate * error);
    for (let k = 0; k < u.length; k++) {
      u[k] += fround(step * v[k]); // storing rounds the sum: u and v are float32
      v[k] += fround(step * u[k]);
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

  // reconstruction_loss: errors and their sum in double precision, the result in single.
  function loss(A, U, V, M) {
    let total = 0;
    for (let i = 0; i < U.length; i++) {
      for (let j = 0; j < V.length; j++) {
        if (M && !M[i][j]) continue;
        let error = fround(A[i][j]);
        for (let k = 0; k < U[i].length; k++) {
          error -= U[i][k] * V[j][k];
        }
        total += error * error;
      }
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

  return { rand, sgd, loss, general };
})();
