// "Are my numbers possible?": what can be said of the numbers typed into report/possible.md.
//
// A number typed with four decimals stands for all that round to it, x - 0.00005 to x + 0.00005: half of this
// range is its `reach`. What is computed from typed numbers gets the largest change that rounding can make.
"use strict";

(() => {
  const { sgd } = window.mf;
  const SEEDS = 1000;
  const SINGLE = 1e-6; // a relative error that no short sum in single precision exceeds
  const SIGNS = {
    "agrees": "✓", "possible": "✓",
    "impossible": "✗", "does not agree": "✗",
    "cannot be told": "…", "cannot be read": "?",
  };
  const CLASSES = { "✓": "reproduced", "✗": "refuted", "…": "qualified", "?": "qualified" }; // of report.css
  const SUMMARY = {
    "✓": "possible or in agreement",
    "✗": "impossible or not in agreement",
    "…": "cannot be told",
    "?": "cannot be read",
  };

  // ------------------------------------------------------------------ what was typed
  // What torch and NumPy print around numbers.
  const unwrap = text => text.replace(/Parameter containing:|\b(tensor|array)\(|,\s*\w+=[^\])]*|\)/g, "");

  // The number of a text and its reach. Throws where it is none.
  function readNumber(text) {
    const numeral = text.replace("\u2212", "-"); // a minus sign
    const match = /^[-+]?(?:\d+\.?(\d*)|\.(\d+))(?:e([-+]?\d+))?$/i.exec(numeral);
    const x = Number(numeral);
    if (!match || !Number.isFinite(Math.fround(x))) {
      throw new Error(`“${text}” is not a number; write one like 0.1223, with a point`);
    }
    const [, decimals = match[2], , exponent = 0] = match;
    const count = decimals.length - exponent;
    return { x, text, decimals: count, reach: Math.max(10 ** -count / 2, SINGLE * Math.abs(x)) };
  }

  // A matrix X and the reaches H of its entries: rows by lines or in brackets.
  function readMatrix(text) {
    const bare = unwrap(text);
    let rows = bare.split("\n");
    if (bare.includes("[")) {
      const row = /\[([^[\]]*)\]/g;
      const rest = bare.replace(row, "").replace(/[[\],\s]/g, "");
      if (rest) throw new Error(`“${rest}” stands outside of the rows in brackets`);
      rows = Array.from(bare.matchAll(row), match => match[1]);
    }
    const words = rows.map(row => row.split(/[\s,;]+/).filter(Boolean)).filter(row => row.length);
    const numbers = words.map(row => row.map(readNumber));
    const width = numbers[0]?.length ?? 0;
    const odd = numbers.findIndex(row => row.length !== width);
    if (odd > 0) throw new Error(`row 1 has ${width} numbers, and row ${odd + 1} has ${numbers[odd].length}`);
    return { X: numbers.map(row => row.map(y => y.x)), H: numbers.map(row => row.map(y => y.reach)) };
  }

  // ------------------------------------------------------------------ matrices
  const sum = numbers => numbers.reduce((total, x) => total + x, 0);
  const dot = (u, v) => sum(u.map((x, k) => x * v[k]));
  const norm = X => Math.hypot(...X.flat());
  const places = A => A.flatMap((row, i) => row.map((_, j) => [i, j]));

  // Singular values, the largest first, and approximate(rank), the truncated SVD. One-sided Jacobi: turns
  // pairs of columns until all are orthogonal.
  function svd(A) {
    const n = A[0].length;
    const columns = Array.from({ length: n }, (_, j) => A.map(row => row[j]));
    const turns = Array.from({ length: n }, (_, j) => Array.from({ length: n }, (_, k) => Number(j === k)));
    let isTurning = true;
    for (let sweep = 0; isTurning && sweep < 40; sweep++) {
      isTurning = false;
      for (let p = 0; p < n; p++) {
        for (let q = p + 1; q < n; q++) {
          const across = dot(columns[p], columns[q]);
          if (Math.abs(across) <= 1e-15 * norm(columns[p]) * norm(columns[q])) continue;
          isTurning = true;
          const ratio = (norm(columns[q]) ** 2 - norm(columns[p]) ** 2) / (2 * across);
          const tangent = (ratio < 0 ? -1 : 1) / (Math.abs(ratio) + Math.hypot(1, ratio));
          for (const vectors of [columns, turns]) turn(vectors[p], vectors[q], tangent);
        }
      }
    }
    const order = columns.map((_, k) => k).sort((p, q) => norm(columns[q]) - norm(columns[p]));
    const values = order.map(k => norm(columns[k])).slice(0, A.length);
    const approximate = rank => A.map((row, i) => row.map((_, j) =>
      sum(order.slice(0, rank).map(k => columns[k][i] * turns[k][j]))));
    return { values, approximate };
  }

  function turn(u, v, tangent) {
    const cosine = 1 / Math.hypot(1, tangent);
    for (let k = 0; k < u.length; k++) {
      const before = u[k];
      u[k] = cosine * (before - tangent * v[k]);
      v[k] = cosine * (tangent * before + v[k]);
    }
  }

  function multiply(U, V) {
    const entries = entry => U.X.map((_, i) => V.X.map((_, j) => sum(U.X[i].map((_, k) => entry(i, j, k)))));
    const size = (i, j, k) => Math.abs(U.X[i][k] * V.X[j][k]);
    const most = (i, j, k) => (Math.abs(U.X[i][k]) + U.H[i][k]) * (Math.abs(V.X[j][k]) + V.H[j][k]);
    return {
      X: entries((i, j, k) => U.X[i][k] * V.X[j][k]),
      H: entries((i, j, k) => most(i, j, k) - (1 - SINGLE) * size(i, j, k)),
    };
  }

  // The sum of the squared differences at these places, with its least and its largest value.
  function squaredError(A, { X, H }, at = places(A)) {
    const total = change => sum(at.map(([i, j]) => change(Math.abs(A[i][j] - X[i][j]), H[i][j]) ** 2));
    return {
      x: total(error => error),
      low: total((error, reach) => Math.max(error - reach, 0)),
      high: total((error, reach) => error + reach),
    };
  }

  // The place where two matrices differ most, compared with what rounding explains.
  function compare(first, second, at = places(first.X)) {
    const gaps = at.map(([i, j]) => ({
      place: `row ${i + 1}, column ${j + 1}`,
      values: [first.X[i][j], second.X[i][j]],
      gap: Math.abs(first.X[i][j] - second.X[i][j]),
      reach: first.H[i][j] + second.H[i][j],
    }));
    const wrong = gaps.filter(({ gap, reach }) => gap > reach * (1 + 1e-9));
    const by = size => (a, b) => size(b) - size(a);
    const [worst] = [...(wrong.length ? wrong : gaps)].sort(by(({ gap, reach }) => gap - reach));
    return { wrong: wrong.length, all: gaps.length, worst, largest: [...gaps].sort(by(({ gap }) => gap))[0] };
  }

  const meet = (a, b) => a.low <= b.high && b.low <= a.high;

  // ------------------------------------------------------------------ the verdicts
  // A number for a sentence, with four decimals or, where these are all zeros, with two digits.
  function show(x, decimals = 4) {
    return x && Math.abs(x) < 0.0005 ? String(Number(x.toPrecision(2))) : x.toFixed(decimals);
  }

  function inWords({ x, low, high }) {
    const ends = [low, high].map(end => show(end));
    return ends[0] === ends[1] ? show(x) : `${show(x)} (with rounding from ${ends.join(" to ")})`;
  }

  // All verdicts on the fields' texts: for each group a list of [fields, verdict, reason]. resultsOf gives,
  // for a call of sgd, the runs of its seeds that are done.
  function judge(texts, resultsOf) {
    const verdicts = { matrix: [], descent: [], svd: [], completion: [] };
    const task = readTask(texts, verdicts.matrix);
    if (task) {
      const loss = judgeDescent(task, verdicts.descent, resultsOf);
      judgeSvd(task, verdicts.svd, loss);
      judgeCompletion(task, verdicts.completion, resultsOf);
    }
    return verdicts;
  }

  // Reads a field with what is given; nothing for an empty one. Says so where that fails.
  function attempt(texts, verdicts, name, read) {
    if (!texts[name].trim()) return null;
    try {
      return read(texts[name]);
    } catch (error) {
      verdicts.push([name, "cannot be read", `${error.message}.`]);
      return null;
    }
  }

  function readShape(text, m, n) {
    const matrix = readMatrix(text);
    const shape = [matrix.X.length, matrix.X[0]?.length];
    if (String(shape) !== String([m, n])) {
      throw new Error(`${m} rows of ${n} numbers are needed here, and there are ${shape[0]} of ${shape[1]}`);
    }
    return matrix;
  }

  function readTask(texts, verdicts) {
    const A = attempt(texts, verdicts, "A", text => {
      const { X } = readMatrix(text);
      if (!X.length || X.length * X[0].length > 400) throw new Error("a matrix of 1 to 400 numbers is needed");
      return X;
    });
    const rank = attempt(texts, verdicts, "rank", text => {
      const limit = A ? Math.min(A.length, A[0].length) : Infinity;
      const rank = Number(text);
      if (!Number.isInteger(rank) || rank < 1) throw new Error("the rank is a whole number from 1 on");
      if (rank > limit) throw new Error(`a matrix of this shape has no rank above ${limit}`);
      return rank;
    });
    if (!A || !rank) {
      if (!verdicts.length) verdicts.push(["A rank", "cannot be told", "A matrix A and a rank are needed."]);
      return null;
    }
    const { values, approximate } = svd(A);
    const floor = sum(values.slice(rank).map(x => x ** 2));
    const blur = SINGLE * norm(A); // what single precision may change in A - U Vᵀ
    // A loss, or a mean over so many squares, as a range of the loss.
    const loss = (text, count = 1) => {
      const typed = readNumber(unwrap(text).trim());
      if (typed.x < 0) throw new Error("a sum of squares is not negative");
      const size = count * typed.x;
      const reach = count * typed.reach + 2 * Math.sqrt(size) * blur + blur ** 2;
      const decimals = Math.min(Math.max(typed.decimals, 4), 8);
      const ends = { low: typed.x - typed.reach, high: typed.x + typed.reach };
      return { x: size, low: size - reach, high: size + reach, ends, text: typed.text, decimals };
    };
    const least = rank < values.length
      ? `The floor at rank ${rank} is ${show(floor)}, the sum of the squares of all but the first ${rank}`
      : `At rank ${rank} the floor is 0`;
    verdicts.push(["A rank", "", `The singular values of A are ${values.map(x => show(x)).join(", ")}. ${least}: no matrix ` +
      `of rank ${rank} has a smaller loss.`]);
    return { texts, A, m: A.length, n: A[0].length, rank, values, approximate, floor, loss };
  }

  function isBelow(range, floor) {
    return range.high < floor * (1 - 1e-9);
  }

  // Which of these numbers the typed one is instead: a mistake that has a name.
  function nameMistake(range, numbers) {
    const [mistake] = numbers.find(([, x]) => range.low <= x && x <= range.high) ?? [];
    return mistake ? ` It is ${mistake}.` : "";
  }

  function judgeProduct(verdicts, names, title, typed, computed, rule) {
    const { wrong, all, worst, largest } = compare(computed, typed);
    if (wrong) {
      verdicts.push([names, "does not agree", `${wrong} of ${all} entries differ by more than rounding: at ` +
        `${worst.place}, ${rule} is ${show(worst.values[0])} and not ${show(worst.values[1])}.`]);
    } else {
      verdicts.push([names, "agrees", `${title} differs from ${rule} by at most ${show(largest.gap)}; rounding explains ` +
        `${show(largest.reach)}.`]);
    }
  }

  // X is of the rank only if its distance from the nearest such matrix is not more than rounding.
  function judgeRank(verdicts, name, { rank }, { X, H }) {
    const { values } = svd(X);
    if (rank >= values.length) return; // every matrix
    const distance = norm(values.slice(rank));
    const others = values.slice(0, rank).reduce((product, x) => product * x, 1);
    const measured = X.length === X[0].length && rank === X.length - 1
      ? `Its determinant differs from 0 by ${show(others * distance)}; rounding explains ${show(others * norm(H))}`
      : `It is ${show(distance)} away from the nearest matrix of rank ${rank}; rounding explains ${show(norm(H))}`;
    if (distance > norm(H)) {
      verdicts.push([name, "impossible", `The matrix is not of rank ${rank}, as a product U Vᵀ is. ${measured}.`]);
    } else {
      verdicts.push([name, "possible", `The matrix is of rank ${rank} as far as its digits tell. ${measured}.`]);
    }
  }

  function judgeDescent(task, verdicts, resultsOf) {
    const { texts, A, m, n, rank, floor } = task;
    const U = attempt(texts, verdicts, "sgd-u", text => readShape(text, m, rank));
    const V = attempt(texts, verdicts, "sgd-v", text => readShape(text, n, rank));
    const product = attempt(texts, verdicts, "sgd-reconstruction", text => readShape(text, m, n));
    const loss = attempt(texts, verdicts, "sgd-loss", task.loss);
    const ofFactors = U && V && multiply(U, V);
    if ((U || V) && !ofFactors) verdicts.push(["sgd-u sgd-v", "cannot be told", "U and V are needed, both."]);
    if (ofFactors && product) {
      judgeProduct(verdicts, "sgd-u sgd-v sgd-reconstruction", "The product", product, ofFactors, "U Vᵀ");
    } else if (product) {
      judgeRank(verdicts, "sgd-reconstruction", task, product);
    }
    const computed = [];
    if (product) computed.push(["sgd-reconstruction", "the product", squaredError(A, product)]);
    if (ofFactors) computed.push(["sgd-u sgd-v", "U and V", squaredError(A, ofFactors)]);
    for (const [names, title, range] of loss ? computed : []) {
      if (meet(loss, range)) {
        verdicts.push([`${names} sgd-loss`, "agrees", `The loss of ${title} is ${inWords(range)}.`]);
      } else {
        const mistake = nameMistake(loss, [["the mean of the squares; the loss is their sum", range.x / (m * n)],
          ["the root of the loss", Math.sqrt(range.x)]]);
        verdicts.push([`${names} sgd-loss`, "does not agree", `${loss.text} is not the loss of ${title}: that is ` +
          `${inWords(range)}.${mistake}`]);
      }
    }
    const [names, title, range] = loss ? ["sgd-loss", loss.text, loss] : computed[0] ?? [];
    if (range && isBelow(range, floor)) {
      const asSum = m * n * range.x;
      const asMean = asSum >= floor
        ? ` As the mean of ${m * n} squares it would stand for the sum ${show(asSum)}, which is not below.` : "";
      verdicts.push([names, "impossible", `The loss ${show(range.x, range.decimals)} is below the floor ` +
        `${show(floor, range.decimals)}: no matrix of rank ${rank} comes so near to A.${asMean}`]);
    } else if (range) {
      const where = loss ? `within rounding of ${title}` : `at the loss of ${title}, ${inWords(range)}`;
      judgeSeeds(verdicts, names, resultsOf({ A, rank }), run => run.loss, loss?.ends ?? range, `end ${where}`);
    }
    return loss;
  }

  // Whether some of a thousand seeds end in the range. What ends nowhere near may still be a run from
  // another start: it cannot be told.
  function judgeSeeds(verdicts, names, runs, measure, range, where) {
    const all = SEEDS.toLocaleString("en");
    if (runs.length < SEEDS) {
      verdicts.push([names, "cannot be told", `Counting how many of ${all} seeds ${where} …`]);
      return;
    }
    const results = runs.filter(Boolean).map(measure).sort((a, b) => a - b);
    const hits = results.filter(x => range.low <= x && x <= range.high).length;
    const spread = results.length ? ` The range is ${show(results[0])} to ${show(results.at(-1))}.` : "";
    const diverged = runs.length > results.length ? ` Of all, ${runs.length - results.length} diverge.` : "";
    const others = hits ? "" : " Another start, more or fewer epochs or another learning rate may.";
    verdicts.push([names, hits ? "possible" : "cannot be told",
      `${hits || "None"} of ${all} seeds ${where}.${spread}${diverged}${others}`]);
  }

  function judgeSvd(task, verdicts, lossOfDescent) {
    const { texts, A, m, n, rank, values, approximate, floor } = task;
    const matrix = attempt(texts, verdicts, "svd-matrix", text => readShape(text, m, n));
    const loss = attempt(texts, verdicts, "svd-loss", task.loss);
    if (loss && loss.low <= floor && floor <= loss.high) {
      verdicts.push(["svd-loss", "agrees", `${loss.text} is the loss of the truncated SVD at rank ${rank}.`]);
    } else if (loss) {
      const mistake = nameMistake(loss, [["the mean of the squares; the loss is their sum", floor / (m * n)],
        ["the norm of the difference; the loss is its square", Math.sqrt(floor)]]);
      const nearer = lossOfDescent && lossOfDescent.high < loss.low
        ? ` The loss of gradient descent typed above, ${lossOfDescent.text}, is smaller: nothing of rank ${rank} ` +
          "has a smaller loss than the truncated SVD." : "";
      verdicts.push(["svd-loss", "impossible", `${loss.text} is not the loss of a truncated SVD at rank ${rank}: ` +
        `that is ${show(floor, loss.decimals)} for every method.${mistake}${nearer}`]);
    }
    if (!matrix) return;
    const range = squaredError(A, matrix);
    const gap = values[rank - 1] - (values[rank] ?? 0);
    if (gap <= SINGLE * values[0]) {
      verdicts.push(["svd-matrix", "cannot be told", `Singular values number ${rank} and ${rank + 1} are equal, ` +
        `so A has more than one truncated SVD. The loss of this matrix is ${inWords(range)}; the floor is ${show(floor)}.`]);
    } else {
      const reach = SINGLE * values[0] * values[rank - 1] / gap; // single precision's, the more the nearer the two
      const best = { X: approximate(rank), H: A.map(row => row.map(() => reach)) };
      judgeProduct(verdicts, "svd-matrix", "The matrix", matrix, best, "the truncated SVD");
    }
    if (loss && !meet(loss, range)) {
      verdicts.push(["svd-matrix svd-loss", "does not agree", `The loss of this matrix is ${inWords(range)}, not ${loss.text}.`]);
    }
  }

  function judgeCompletion(task, verdicts, resultsOf) {
    const { texts, A, m, n, rank } = task;
    const mask = attempt(texts, verdicts, "M", text => {
      const { X } = readShape(text, m, n);
      const marks = X.flat();
      if (!marks.every(x => x === 0 || x === 1) || !marks.includes(1)) {
        throw new Error("the mask has a 1 for each observed entry, a 0 for each hidden one, and at least one 1");
      }
      return X;
    });
    const matrix = attempt(texts, verdicts, "completed-matrix", text => readShape(text, m, n));
    const mean = attempt(texts, verdicts, "completed-mse", text => task.loss(text, m * n));
    if (!mask) {
      if (!texts.M.trim()) verdicts.push(["M", "cannot be told", "The mask is needed here."]);
      return;
    }
    const observed = places(A).filter(([i, j]) => mask[i][j]);
    const hidden = places(A).filter(([i, j]) => !mask[i][j]);
    if (matrix) {
      judgeRank(verdicts, "completed-matrix", task, matrix);
      judgeFit(task, verdicts, matrix, mask, observed, resultsOf);
      judgeHidden(task, verdicts, matrix, hidden);
    }
    if (mean) judgeMean(task, verdicts, { matrix, mean, observed, hidden });
  }

  function judgeFit({ A, rank }, verdicts, matrix, mask, observed, resultsOf) {
    const { wrong, largest } = compare({ X: A, H: A.map(row => row.map(() => 0)) }, matrix, observed);
    if (!wrong) {
      verdicts.push(["completed-matrix", "possible", "It fits all observed entries, as far as its digits tell."]);
      return;
    }
    const { gap, reach, place } = largest;
    const ofRun = ({ U, V }) => Math.max(...observed.map(([i, j]) => Math.abs(A[i][j] - dot(U[i], V[j]))));
    judgeSeeds(verdicts, "completed-matrix", resultsOf({ A, M: mask, rank }), ofRun, { low: gap - reach, high: Infinity },
      `miss an observed entry by as much as this matrix, ${show(gap)} at ${place}, or more`);
  }

  // With two gaps in a 3 x 3 matrix and rank 2, the exact completions are a curve: the determinant is 0.
  function judgeHidden({ A, m, n, rank }, verdicts, { X, H }, hidden) {
    if (!hidden.length) return;
    const errors = hidden.map(([i, j]) => show(Math.abs(A[i][j] - X[i][j]))).join(" and ");
    const pair = hidden.map(([i, j]) => show(X[i][j])).join(" and ");
    const facts = `The hidden entries are ${pair}; those of A are ${errors} away.`;
    const [[i, j], [k, l]] = hidden.length === 2 ? hidden : [[0, 0], [0, 0]];
    if (m !== 3 || n !== 3 || rank !== 2 || i === k || j === l) {
      verdicts.push(["completed-matrix", "", facts]);
      return;
    }
    const onCurve = x => {
      const completed = A.map(row => [...row]);
      completed[i][j] = x;
      completed[k][l] = 0;
      const atZero = determinant(completed);
      completed[k][l] = 1;
      return atZero / (atZero - determinant(completed)); // the determinant is a line in this entry
    };
    const ends = [-1, 0, 1].map(side => onCurve(X[i][j] + side * H[i][j]));
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    const isOn = X[k][l] + H[k][l] >= low && X[k][l] - H[k][l] <= high;
    const place = isOn ? "They lie on the curve of exact completions"
      : `They do not lie on the curve of exact completions: there, ${show(X[i][j])} goes with ${show(ends[1])}`;
    verdicts.push(["completed-matrix", "", `${facts} ${place}.`]);
  }

  function determinant([[a, b, c], [d, e, f], [g, h, i]]) {
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  }

  function judgeMean({ A, m, n, rank, floor }, verdicts, { matrix, mean, observed, hidden }) {
    const count = m * n;
    const average = sum(observed.map(([i, j]) => A[i][j])) / observed.length;
    const filled = sum(hidden.map(([i, j]) => (A[i][j] - average) ** 2));
    const isWorse = hidden.length && mean.low > filled;
    const worse = isWorse
      ? ` To fill the gaps with the mean of the observed entries would be better: ${show(filled / count)}.` : "";
    if (isBelow(mean, floor)) {
      verdicts.push(["completed-mse", "impossible", `No matrix of rank ${rank} has a mean squared error below ` +
        `${show(floor / count)}, the floor over ${count} entries.`]);
    }
    if (!matrix) {
      if (!isBelow(mean, floor)) verdicts.push(["completed-mse", "cannot be told", `The completed matrix is needed.${worse}`]);
      return;
    }
    const range = squaredError(A, matrix);
    const share = { x: range.x / count, low: range.low / count, high: range.high / count };
    if (meet(mean, range)) {
      verdicts.push(["completed-mse", "agrees", `The mean squared error of the matrix is ${inWords(share)}.${worse}`]);
      return;
    }
    const withZeros = A.map(row => [...row]);
    for (const [i, j] of hidden) withZeros[i][j] = 0;
    const within = { low: mean.low / count, high: mean.high / count };
    const mistake = nameMistake(within, [
      ["the error against a matrix with 0 in its gaps, which A is not", squaredError(withZeros, matrix).x / count],
      ["the sum of the squares", range.x],
      ["the mean over the hidden entries", squaredError(A, matrix, hidden).x / hidden.length],
      ["the mean over the observed entries", squaredError(A, matrix, observed).x / observed.length],
    ]);
    verdicts.push(["completed-mse", "does not agree", `${mean.text} is not the mean squared error of the matrix: ` +
      `that is ${inWords(share)}.${mistake}${worse}`]);
  }

  // ------------------------------------------------------------------ in the page
  function start(page) {
    const fields = [...page.querySelectorAll("textarea, input")];
    const status = page.querySelector("output");
    const done = new Map(); // the runs of each call of sgd
    let wanted = []; // the calls that the newest verdicts need
    let timer = null;

    function resultsOf(call) {
      const key = JSON.stringify(call);
      if (!done.has(key)) done.set(key, { call, runs: [] });
      wanted.push(done.get(key));
      return done.get(key).runs;
    }

    // The animation frames between slices of the work leave the page free to answer.
    function slice() {
      const end = performance.now() + 10;
      const work = wanted.find(({ runs }) => runs.length < SEEDS);
      timer = null;
      if (!work) return;
      while (work.runs.length < SEEDS && performance.now() < end) {
        work.runs.push(runOnce({ ...work.call, seed: work.runs.length }));
      }
      if (work.runs.length === SEEDS) update();
      else timer = requestAnimationFrame(slice);
    }

    function update() {
      wanted = [];
      const verdicts = judge(Object.fromEntries(fields.map(field => [field.name, field.value])), resultsOf);
      const all = Object.values(verdicts).flat();
      for (const field of fields) {
        field.ariaInvalid = all.some(([names, verdict]) => names === field.name && verdict === "cannot be read");
      }
      for (const [group, list] of Object.entries(verdicts)) {
        page.querySelector(`[data-group="${group}"]`).replaceChildren(...list.map(writeVerdict));
      }
      const counts = Object.entries(SUMMARY).map(([sign, summary]) => {
        const count = all.filter(([, verdict]) => SIGNS[verdict] === sign).length;
        return count ? `${count} ${summary}` : "";
      });
      status.textContent = counts.filter(Boolean).join(", ") || "Type a number.";
      timer ??= requestAnimationFrame(slice);
    }

    function fill(valueOf) {
      for (const field of fields) field.value = valueOf(field);
      update();
    }

    page.querySelector(".clear").onclick = () => {
      fill(field => "A rank M".split(" ").includes(field.name) ? field.value : "");
    };
    page.querySelector(".example").onclick = () => fill(field => field.defaultValue);
    page.oninput = update;
    for (const part of page.querySelectorAll("[hidden]")) part.hidden = false;
    update();
  }

  function runOnce(call) {
    try {
      return sgd(call);
    } catch {
      return null; // it diverged
    }
  }

  function writeVerdict([names, verdict, reason]) {
    const item = document.createElement("li");
    item.dataset.about = names;
    if (verdict) {
      const label = document.createElement("strong");
      label.className = `verdict ${CLASSES[SIGNS[verdict]]}`;
      label.textContent = `${SIGNS[verdict]} ${verdict}`;
      item.append(label, ": ");
    }
    item.append(reason);
    return item;
  }

  window.mf.svd = svd;
  document.querySelectorAll(".possible").forEach(start);
})();
