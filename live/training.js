// The figure that trains levels and factors on real ratings, an epoch in each frame.
"use strict";

(() => {
  const { fround } = Math;
  const { rand, epochs, squaredError, bytesOf } = window.mf;
  const NUM_EPOCHS = 100;
  const PATIENCE = 5; // epochs without a new low, after which early stopping ends a run

  // A curve has both errors by epoch: those on the fitting part and on the validation part. The curve of
  // the run before stays, pale. Of the first settings Python has computed the curve: `finished`.
  function training({ settings, move }, { ratings, shape, damping, finished }) {
    const first = String(Object.values(settings()));
    let parts;
    let run = { at: first, curve: finished };
    let before = [];

    function prepare() {
      parts ??= residuals(unpackRatings(ratings, shape), damping);
    }

    function replace(next) {
      if (run.curve.length) before = run.curve;
      run = next;
    }

    // The errors on both parts after each epoch.
    function* errors({ rank, lr, decay, seed }) {
      prepare();
      const init = smallStart(shape, rank, seed);
      const options = { rank, num_epochs: NUM_EPOCHS, lr, weight_decay: decay, init };
      for (const { epoch, U, V } of epochs({ entries: parts.fitting, ...options })) {
        if (epoch > 0) yield [rmse(parts.fitting, U, V), rmse(parts.validation, U, V)];
      }
    }

    function train() {
      try {
        run.curve.push(run.errors.next().value);
      } catch (failure) {
        run.failure = failure;
      }
    }

    function isOver() {
      return run.failure || run.curve.length === NUM_EPOCHS;
    }

    function draw(current) {
      const at = String(Object.values(current));
      if (at !== run.at) replace({ at, curve: at === first ? finished : [] });
      show("", run.curve);
      show("-before", before);
      const stop = stopOf(run.curve);
      move("stop", stop ? [[stop.epoch, 0], [stop.epoch, 2]] : []);
      if (run.failure) throw run.failure;
      return describe(run.curve, stop);
    }

    function show(suffix, curve) {
      move(`fitting${suffix}`, curve.map(([fitting], k) => [k + 1, fitting]));
      move(`validation${suffix}`, curve.map(([, validation], k) => [k + 1, validation]));
    }

    // For who prefers no motion, the curves grow by ten epochs at a time.
    draw.play = () => {
      if (!run.errors || isOver()) replace({ at: run.at, curve: [], errors: errors(settings()) });
      const atATime = matchMedia("(prefers-reduced-motion: reduce)").matches ? 10 : 1;
      return () => {
        do {
          train();
        } while (!isOver() && run.curve.length % atATime);
        return !isOver();
      };
    };
    // Which it is: both errors stay, both fall, or one rises again. A hundredth of a star can just be seen.
    draw.judge = () => {
      const [first, last] = [run.curve[0], run.curve.at(-1)];
      const lowest = Math.min(...run.curve.map(([, validation]) => validation));
      const falls = first[0] - last[0] > 0.01;
      const rises = last[1] - lowest > 0.01;
      const [before, after] = [first, last].map(errors => errors.map(x => x.toFixed(3)).join(" and "));
      const why = falls ? "the factors learn" : "such a decay pulls the factors back to 0";
      return [rises ? 2 : Number(falls), `the two errors begin at ${before} and end at ${after}, because ${why}`];
    };
    setTimeout(prepare); // so that the first press is answered at once
    return draw;
  }

  function smallStart([m, n], rank, seed) {
    return rand(seed, (m + n) * rank).map(x => fround(0.1) * x);
  }

  function rmse(entries, U, V) {
    return Math.sqrt(squaredError(entries, U, V) / entries.values.length);
  }

  // Where early stopping ends the run, and the lowest validation error until then; null if it does not.
  function stopOf(curve) {
    let low = { error: Infinity, epoch: 0 };
    for (let epoch = 1; epoch <= curve.length; epoch++) {
      const error = curve[epoch - 1][1];
      if (error < low.error) low = { error, epoch };
      if (epoch - low.epoch >= PATIENCE) return { epoch, low };
    }
    return null;
  }

  function describe(curve, stop) {
    if (!curve.length) return ["Not trained yet: press Train.", ""];
    const [fitting, validation] = curve.at(-1).map(error => error.toFixed(4));
    const end = stop
      ? `Early stopping: epoch ${stop.epoch}, lowest validation error ${stop.low.error.toFixed(4)} ` +
        `at epoch ${stop.low.epoch}.`
      : "Early stopping: not yet.";
    return [`Epoch ${curve.length}: RMSE ${fitting} on the fitting part, ${validation} on the validation part.`, end];
  }

  // The ratings of both parts, as packed_ratings of mf_figures.py writes them: row by row, 16 bits for each.
  function unpackRatings(base64, shape) {
    const part = () => ({ rows: [], cols: [], values: [], shape });
    const parts = { fitting: part(), validation: part() };
    let cell = 0;
    for (const word of new Uint16Array(bytesOf(base64).buffer)) {
      cell += word >> 5;
      const halfStars = (word >> 1) & 15;
      if (!halfStars) continue; // only the way to a rating that is far
      const { rows, cols, values } = word & 1 ? parts.validation : parts.fitting;
      rows.push(Math.floor(cell / shape[1]));
      cols.push(cell % shape[1]);
      values.push(halfStars / 2);
    }
    return parts;
  }

  // What the baseline leaves of both parts. Its levels b and c learn from the fitting part, as those of
  // mf_train's fit_baseline do, in the same order; the notebook adds them up in single precision.
  function residuals({ fitting, validation }, damping) {
    const { rows, cols, values, shape } = fitting;
    const mu = values.reduce((sum, value) => sum + value) / values.length;
    const deviations = values.map(value => value - mu);
    let b;
    let c = new Float64Array(shape[1]);
    for (let round = 0; round < 10; round++) {
      b = levels(shape[0], rows, deviations, c, cols, damping);
      c = levels(shape[1], cols, deviations, b, rows, damping);
    }
    const left = ({ rows, cols, values, shape }) => ({
      rows: Int32Array.from(rows),
      cols: Int32Array.from(cols),
      values: Float32Array.from(values, (value, p) => {
        const level = fround(fround(mu) + fround(b[rows[p]]));
        return value - fround(level + fround(c[cols[p]]));
      }),
      shape,
    });
    return { fitting: left(fitting), validation: left(validation) };
  }

  // The levels at whose places the deviations are, given the other levels.
  function levels(size, places, deviations, others, otherPlaces, damping) {
    const sums = new Float64Array(size);
    const weights = new Float64Array(size).fill(damping);
    for (let p = 0; p < deviations.length; p++) {
      sums[places[p]] += deviations[p] - others[otherPlaces[p]];
      weights[places[p]] += 1;
    }
    return sums.map((sum, k) => sum / weights[k]);
  }

  Object.assign(window.mf, { training, unpackRatings, residuals, smallStart, rmse });
})();
