// "Are my numbers possible?": what can be said of the numbers typed into report/possible.md.
//
// A number typed with four decimals stands for all that round to it, x - 0.00005 to x + 0.00005: half of this
// range is its `reach`. What is computed from typed numbers gets the largest change that rounding can make.
"use strict";

(() => {
  const { runSlice, dot } = window.mf;
  const SEEDS = 1000;
  const SINGLE = 1e-6; // a relative error that no short sum in single precision exceeds
  const SIGNS = { "agrees": "✓", "possible": "✓", "impossible": "✗", "does not agree": "✗",
    "cannot be told": "…", "cannot be read": "?" };
  const CLASSES = { "✓": "reproduced", "✗": "refuted" }; // of report.css
  const SUMMARY = { "✓": "possible or in agreement", "✗": "impossible or not in agreement",
    "…": "cannot be told", "?": "cannot be read" };

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

  // How many entries differ by more than rounding, and where most; the largest difference of all.
  function compare(first, second, at = places(first.X)) {
    const gaps = at.map(([i, j]) => ({
      place: `row ${i + 1}, column ${j + 1}`,
      values: [first.X[i][j], second.X[i][j]],
      gap: Math.abs(first.X[i][j] - second.X[i][j]),
      reach: first.H[i][j] + second.H[i][j],
    }));
    const beyond = ({ gap, reach }) => gap - reach * (1 + 1e-9);
    const [worst] = gaps.toSorted((a, b) => beyond(b) - beyond(a));
    const [largest] = gaps.toSorted((a, b) => b.gap - a.gap);
    return { wrong: gaps.filter(entry => beyond(entry) > 0).length, all: gaps.length, worst, largest };
  }

  // X with other numbers at these places.
  function replace(X, entries) {
    const other = (i, j) => entries.find(([k, l]) => k === i && l === j)?.[2];
    return X.map((row, i) => row.map((x, j) => other(i, j) ?? x));
  }

  function determinant([[a, b, c], [d, e, f], [g, h, i]]) {
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  }

  const around = (x, reach) => ({ x, low: x - reach, high: x + reach });
  const meet = (a, b) => a.low <= b.high && b.low <= a.high;
  const isBelow = (range, floor) => range.high < floor * (1 - 1e-9);

  // ------------------------------------------------------------------ the verdicts
  // A number for a sentence, with four decimals or, where these say little, with two digits.
  function show(x, decimals = 4) {
    return x && Math.abs(x) < 0.0005 ? String(Number(x.toPrecision(2))) : x.toFixed(decimals);
  }

  function inWords({ x, low, high }) {
    const ends = [low, high].map(end => show(end));
    return ends[0] === ends[1] ? show(x) : `${show(x)} (with rounding from ${ends.join(" to ")})`;
  }

  // All verdicts on the fields' texts: lists of [fields, verdict, reason], by group. resultsOf gives, for a
  // call of sgd, the runs of its seeds that are done.
  function judge(texts, resultsOf) {
    const verdicts = { matrix: [], descent: [], svd: [], completion: [] };
    const inGroup = group => {
      const say = (names, verdict, reason) => verdicts[group].push([names, verdict, reason]);
      return { say, read: (name, parse) => readField(texts, name, parse, say) };
    };
    const task = readTask(inGroup("matrix"));
    if (task) {
      const loss = judgeDescent({ ...task, ...inGroup("descent") }, resultsOf);
      judgeSvd({ ...task, ...inGroup("svd") }, loss);
      judgeCompletion({ ...task, ...inGroup("completion") }, resultsOf);
    }
    return verdicts;
  }

  // What the field holds; null where it is empty, or where a verdict says that it cannot be read.
  function readField(texts, name, parse, say) {
    if (!texts[name].trim()) return null;
    try {
      return parse(texts[name]);
    } catch (error) {
      say(name, "cannot be read", `${error.message}.`);
      return null;
    }
  }

  // What all groups need: A and the rank, the SVD, and how to read a matrix and a loss.
  function readTask({ say, read }) {
    const A = read("A", text => {
      const { X } = readMatrix(text);
      if (!X.length || X.length * X[0].length > 400) throw new Error("A has 1 to 400 numbers");
      return X;
    });
    const rank = A && read("rank", text => {
      const limit = Math.min(A.length, A[0].length);
      if (!/^\s*[1-9]\d*\s*$/.test(text)) throw new Error("the rank is a whole number from 1 on");
      if (text > limit) throw new Error(`a matrix of this shape has no rank above ${limit}`);
      return Number(text);
    });
    if (!rank) return null;
    const { values, approximate } = svd(A);
    const floor = sum(values.slice(rank).map(x => x ** 2));
    const source = rank < values.length ? `, the sum of the squares of all but the first ${rank}` : "";
    say("A rank", "", `The singular values of A are ${values.map(x => show(x)).join(", ")}. The floor at rank ` +
      `${rank} is ${show(floor)}${source}: no matrix of rank ${rank} has a smaller loss.`);

    const matrix = (m, n) => text => {
      const typed = readMatrix(text);
      const [rows, columns] = [typed.X.length, typed.X[0]?.length];
      if (rows === m && columns === n) return typed;
      throw new Error(`${m} rows of ${n} numbers are needed here, and there are ${rows} of ${columns}`);
    };
    // A loss, or a mean over so many squares, as a range of the loss.
    const loss = (count = 1) => text => {
      const { x, reach, decimals, text: numeral } = readNumber(unwrap(text).trim());
      if (x < 0) throw new Error("a sum of squares is not negative");
      const blur = SINGLE * norm(A); // what single precision may change in A - U Vᵀ
      const most = count * reach + 2 * Math.sqrt(count * x) * blur + blur ** 2;
      return {
        ...around(count * x, most),
        printed: around(x, reach),
        decimals: Math.min(Math.max(decimals, 4), 8),
        text: numeral,
      };
    };
    return { A, m: A.length, n: A[0].length, rank, values, approximate, floor, matrix, loss };
  }

  // Which of these numbers the typed one is instead: a mistake that has a name.
  function nameMistake(range, numbers) {
    const mistake = Object.keys(numbers).find(name => meet(range, around(numbers[name], 0)));
    return mistake ? ` It is ${mistake}.` : "";
  }

  function judgeEntries(say, names, title, typed, computed, rule) {
    const { wrong, all, worst, largest } = compare(computed, typed);
    if (wrong) {
      say(names, "does not agree", `${wrong} of ${all} entries differ by more than rounding: at ` +
        `${worst.place}, ${rule} is ${show(worst.values[0])} and not ${show(worst.values[1])}.`);
    } else {
      say(names, "agrees", `${title} differs from ${rule} by at most ${show(largest.gap)}; rounding explains ` +
        `${show(largest.reach)}.`);
    }
  }

  // X is of the rank only if its distance from the nearest such matrix is not more than rounding.
  function judgeRank({ rank, say }, name, { X, H }) {
    const { values } = svd(X);
    if (rank >= values.length) return; // every matrix
    const distance = norm(values.slice(rank));
    const others = values.slice(0, rank).reduce((product, x) => product * x, 1);
    const measured = X.length === X[0].length && rank === X.length - 1
      ? `Its determinant differs from 0 by ${show(others * distance)}; rounding explains ` +
        show(others * norm(H))
      : `It is ${show(distance)} away from the nearest such matrix; rounding explains ${show(norm(H))}`;
    if (distance > norm(H)) say(name, "impossible", `The matrix is not of rank ${rank}. ${measured}.`);
    else say(name, "possible", `The matrix is of rank ${rank} as far as its digits tell. ${measured}.`);
  }

  function judgeDescent(task, resultsOf) {
    const { A, m, n, rank, floor, matrix, say, read } = task;
    const U = read("sgd-u", matrix(m, rank));
    const V = read("sgd-v", matrix(n, rank));
    const product = read("sgd-reconstruction", matrix(m, n));
    const loss = read("sgd-loss", task.loss());
    const ofFactors = U && V && multiply(U, V);
    if ((U || V) && !ofFactors) say("sgd-u sgd-v", "cannot be told", "U and V are needed, both.");
    if (ofFactors && product) {
      judgeEntries(say, "sgd-u sgd-v sgd-reconstruction", "The product", product, ofFactors, "U Vᵀ");
    } else if (product) {
      judgeRank(task, "sgd-reconstruction", product);
    }
    const losses = [];
    if (product) losses.push(["sgd-reconstruction", "the product", squaredError(A, product)]);
    if (ofFactors) losses.push(["sgd-u sgd-v", "U and V", squaredError(A, ofFactors)]);
    if (loss) {
      for (const [names, title, range] of losses) judgeLoss(say, `${names} sgd-loss`, title, loss, range, m * n);
      losses.unshift(["sgd-loss", loss.text, loss]);
    }
    if (!losses.length) return null;
    const [names, title, range] = losses[0];
    if (isBelow(range, floor)) {
      const asMean = loss && m * n * loss.x >= floor
        ? ` (As the mean of ${m * n} squares it would stand for the sum ${show(m * n * loss.x)}.)` : "";
      say(names, "impossible", `The loss ${show(range.x, range.decimals)} is below the floor, ` +
        `${show(floor, range.decimals)}: no matrix of rank ${rank} comes so near to A.${asMean}`);
    } else {
      const place = loss ? `within rounding of ${title}` : `at the loss of ${title}, ${inWords(range)}`;
      judgeSeeds(say, names, resultsOf({ A, rank }), run => run.loss, range.printed ?? range, `end ${place}`);
    }
    return loss;
  }

  function judgeLoss(say, names, title, loss, range, count) {
    if (meet(loss, range)) {
      say(names, "agrees", `The loss of ${title} is ${inWords(range)}.`);
      return;
    }
    const mistake = nameMistake(loss, {
      "the mean of the squares; the loss is their sum": range.x / count,
      "the root of the loss": Math.sqrt(range.x),
    });
    say(names, "does not agree",
      `${loss.text} is not the loss of ${title}: that is ${inWords(range)}.${mistake}`);
  }

  // Whether some of a thousand seeds end in the range. If none does, a run from another start still may.
  function judgeSeeds(say, names, runs, measure, range, place) {
    const all = SEEDS.toLocaleString("en");
    if (runs.length < SEEDS) {
      say(names, "cannot be told", `Counting how many of ${all} seeds ${place} …`);
      return;
    }
    const results = runs.filter(Boolean).map(measure).sort((a, b) => a - b);
    const hits = results.filter(x => range.low <= x && x <= range.high).length;
    const spread = results.length ? ` The range of all is ${show(results[0])} to ${show(results.at(-1))}.` : "";
    const diverged = runs.length > results.length ? ` ${runs.length - results.length} seeds diverge.` : "";
    const others = hits ? "" : " Another start, more or fewer epochs or another learning rate may.";
    say(names, hits ? "possible" : "cannot be told",
      `${hits || "None"} of ${all} seeds ${place}.${spread}${diverged}${others}`);
  }

  function judgeSvd(task, descent) {
    const { A, m, n, rank, values, approximate, floor, say, read } = task;
    const matrix = read("svd-matrix", task.matrix(m, n));
    const loss = read("svd-loss", task.loss());
    if (loss && meet(loss, around(floor, 0))) {
      say("svd-loss", "agrees", `${loss.text} is the loss of the truncated SVD at rank ${rank}.`);
    } else if (loss) {
      const mistake = nameMistake(loss, {
        "the mean of the squares; the loss is their sum": floor / (m * n),
        "the norm of the difference; the loss is its square": Math.sqrt(floor),
      });
      const nearer = descent && descent.high < loss.low
        ? ` The loss of gradient descent, ${descent.text}, is smaller, and nothing of rank ${rank} has a ` +
          "smaller loss than the truncated SVD." : "";
      say("svd-loss", "impossible", `${loss.text} is not the loss of a truncated SVD at rank ${rank}: that is ` +
        `${show(floor, loss.decimals)} for every method.${mistake}${nearer}`);
    }
    if (!matrix) return;
    const gap = values[rank - 1] - (values[rank] ?? 0);
    if (gap <= SINGLE * values[0]) {
      say("svd-matrix", "cannot be told",
        `Singular values ${rank} and ${rank + 1} are equal: A has more than one truncated SVD.`);
    } else {
      const reach = SINGLE * values[0] * values[rank - 1] / gap; // in single precision, ill-conditioned
      const best = { X: approximate(rank), H: A.map(row => row.map(() => reach)) };
      judgeEntries(say, "svd-matrix", "The matrix", matrix, best, "the truncated SVD");
    }
    if (loss) judgeLoss(say, "svd-matrix svd-loss", "the matrix", loss, squaredError(A, matrix), m * n);
  }

  function judgeCompletion(task, resultsOf) {
    const { A, m, n, rank, say, read } = task;
    const matrix = read("completed-matrix", task.matrix(m, n));
    const mean = read("completed-mse", task.loss(m * n));
    const mask = (matrix || mean) && read("M", text => {
      const { X } = task.matrix(m, n)(text);
      const marks = X.flat();
      if (marks.every(x => x === 0 || x === 1) && marks.includes(1)) return X;
      throw new Error("a mask has a 1 for each observed entry, a 0 for each hidden one, and at least one 1");
    });
    if (!mask) return;
    const observed = places(A).filter(([i, j]) => mask[i][j]);
    const hidden = places(A).filter(([i, j]) => !mask[i][j]);
    if (matrix) {
      judgeRank(task, "completed-matrix", matrix);
      judgeFit(task, matrix, observed, () => resultsOf({ A, M: mask, rank }));
      if (hidden.length) judgeHidden(task, matrix, hidden);
    }
    if (mean) judgeMean(task, { matrix, mean, observed, hidden });
  }

  function judgeFit({ A, say }, matrix, observed, masked) {
    const { wrong, largest } = compare({ X: A, H: A.map(row => row.map(() => 0)) }, matrix, observed);
    if (!wrong) {
      say("completed-matrix", "possible", "It fits all observed entries, as far as its digits tell.");
      return;
    }
    const { gap, reach, place } = largest;
    const miss = ({ U, V }) => Math.max(...observed.map(([i, j]) => Math.abs(A[i][j] - dot(U[i], V[j]))));
    judgeSeeds(say, "completed-matrix", masked(), miss, { low: gap - reach, high: Infinity },
      `miss an observed entry by as much as this matrix, ${show(gap)} at ${place}, or by more`);
  }

  // With two gaps in a 3 x 3 matrix and rank 2, the exact completions are a curve: the determinant is 0.
  function judgeHidden({ A, m, n, rank, say }, { X, H }, hidden) {
    const each = valueOf => hidden.map(valueOf).join(" and ");
    const errors = each(([i, j]) => show(Math.abs(A[i][j] - X[i][j])));
    let curve = "";
    if (m === 3 && n === 3 && rank === 2 && hidden.length === 2) {
      const [[i, j], [k, l]] = hidden;
      // As a function of the second hidden entry, the determinant is a straight line.
      const onCurve = x => {
        const at = y => determinant(replace(A, [[i, j, x], [k, l, y]]));
        return at(0) / (at(0) - at(1));
      };
      const x = X[i][j];
      const ends = [x - H[i][j], x + H[i][j]].map(onCurve);
      const exact = { low: Math.min(...ends), high: Math.max(...ends) };
      curve = meet(around(X[k][l], H[k][l]), exact) ? " They lie on the curve of exact completions."
        : ` They do not lie on the curve of exact completions, where ${show(x)} goes with ${show(onCurve(x))}.`;
    }
    say("completed-matrix", "", `The hidden entries are ${each(([i, j]) => show(X[i][j]))}; those of A are ` +
      `${errors} away.${curve}`);
  }

  function judgeMean({ A, m, n, rank, floor, say }, { matrix, mean, observed, hidden }) {
    const count = m * n;
    const average = sum(observed.map(([i, j]) => A[i][j])) / observed.length;
    const filled = sum(hidden.map(([i, j]) => (A[i][j] - average) ** 2));
    const worse = hidden.length && mean.low > filled
      ? ` To fill the gaps with the mean of the observed entries would be better: ${show(filled / count)}.` : "";
    if (isBelow(mean, floor)) {
      say("completed-mse", "impossible", `No matrix of rank ${rank} has a mean squared error below ` +
        `${show(floor / count)}, the floor over ${count} entries.`);
    } else if (!matrix) {
      say("completed-mse", "cannot be told", `The completed matrix is needed.${worse}`);
    }
    if (!matrix) return;
    const range = squaredError(A, matrix);
    const share = { x: range.x / count, low: range.low / count, high: range.high / count };
    if (meet(mean, range)) {
      say("completed-mse", "agrees", `The mean squared error of the matrix is ${inWords(share)}.${worse}`);
      return;
    }
    const withZeros = replace(A, hidden.map(([i, j]) => [i, j, 0]));
    const mistake = nameMistake(mean.printed, {
      "the error against a matrix with 0 in its gaps, which A is not": squaredError(withZeros, matrix).x / count,
      "the sum of the squares": range.x,
      "the mean over the hidden entries": squaredError(A, matrix, hidden).x / hidden.length,
      "the mean over the observed entries": squaredError(A, matrix, observed).x / observed.length,
    });
    say("completed-mse", "does not agree", `${mean.text} is not the mean squared error of the matrix: that is ` +
      `${inWords(share)}.${mistake}${worse}`);
  }

  // ------------------------------------------------------------------ in the page
  function start(page) {
    const fields = [...page.querySelectorAll("textarea, input")];
    const status = page.querySelector("output");
    const done = new Map(); // the runs of each call of sgd
    const shown = {}; // the verdicts in the page, by group
    let wanted = []; // the calls that the newest verdicts need
    let timer = null;

    function resultsOf(call) {
      const key = JSON.stringify(call);
      if (!done.has(key)) done.set(key, { call, runs: [] });
      wanted.push(done.get(key));
      return done.get(key).runs;
    }

    function slice() {
      const work = wanted.find(({ runs }) => runs.length < SEEDS);
      timer = null;
      if (work && !runSlice(work.runs, SEEDS, work.call)) update();
      else if (work) timer = requestAnimationFrame(slice);
    }

    function update() {
      wanted = [];
      const verdicts = judge(Object.fromEntries(fields.map(field => [field.name, field.value])), resultsOf);
      const all = Object.values(verdicts).flat();
      for (const field of fields) {
        const problem = all.find(([names, verdict]) => names === field.name && verdict === "cannot be read");
        field.ariaInvalid = Boolean(problem);
        if (problem) problem[2] = `${field.labels[0].firstChild.data.trim()}: ${problem[2]}`;
      }
      for (const [group, list] of Object.entries(verdicts)) {
        if (shown[group] === String(list)) continue; // new elements cost a layout of the page
        shown[group] = String(list);
        page.querySelector(`[data-group="${group}"]`).replaceChildren(...list.map(writeVerdict));
      }
      const counts = Object.entries(SUMMARY).map(([sign, summary]) => {
        const count = all.filter(([, verdict]) => SIGNS[verdict] === sign).length;
        return count ? `${count} ${summary}` : "";
      });
      const summary = counts.filter(Boolean).join(", ");
      status.textContent = `${summary || "Nothing to judge: A, the rank and a number are needed"}.`;
      timer ??= requestAnimationFrame(slice);
    }

    function fill(valueOf) {
      for (const field of fields) field.value = valueOf(field);
      update();
    }

    page.querySelector(".clear").onclick = () => fill(field => /^(A|rank|M)$/.test(field.name) ? field.value : "");
    page.querySelector(".example").onclick = () => fill(field => field.defaultValue);
    page.oninput = update;
    for (const part of page.querySelectorAll("[hidden]")) part.hidden = false;
    update();
  }

  function writeVerdict([names, verdict, reason]) {
    const item = document.createElement("li");
    item.dataset.about = names;
    if (verdict) {
      const label = document.createElement("strong");
      label.className = `verdict ${CLASSES[SIGNS[verdict]] ?? "qualified"}`;
      label.textContent = `${SIGNS[verdict]} ${verdict}`;
      item.append(label, ": ");
    }
    item.append(reason);
    return item;
  }

  document.querySelectorAll(".possible").forEach(start);
})();
