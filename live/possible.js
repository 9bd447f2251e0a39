// "Are my numbers possible?": what can be said of the numbers typed into report/possible.md.
//
// A typed 0.1223 stands for 0.12225 to 0.12235: half of this is its `reach`. What follows is a range {x, low, high}.
"use strict";

(() => {
  const { runSlice, dot } = window.mf;
  const SEEDS = 1000;
  const ALL_SEEDS = SEEDS.toLocaleString("en");
  const SINGLE = 1e-6; // a relative error that no short sum in single precision exceeds
  const SIGNS = { "agrees": "✓", "possible": "✓", "impossible": "✗", "does not agree": "✗",
    "cannot be told": "…", "cannot be read": "?", "counting": "⟳" };
  const SUMMARY = { "✓": "possible or in agreement", "✗": "impossible or not in agreement",
    "…": "cannot be told", "?": "cannot be read", "⟳": "still counted" };

  // What a number may be of `count` squares: a name, what it is of their sum, and the sum of it.
  const FORMS = [
    ["the sum of the squares", x => x, x => x],
    ["the mean of the squares", (x, count) => x / count, (x, count) => count * x],
    ["the root of the sum of squares", x => Math.sqrt(x), x => x * Math.abs(x)],
    ["the root of the mean of squares", (x, count) => Math.sqrt(x / count), (x, count) => count * x * Math.abs(x)],
  ];
  const [SUM] = FORMS;

  // ------------------------------------------------------------------ what was typed
  // The text without labels and without what torch, NumPy and LaTeX write around numbers. A row ends with its line.
  function bareText(text) {
    return text
      .replace(/[\u2212\u2013\u2014]/g, "-") // a minus sign, an en dash, an em dash
      .replace(/\bTrue\b/g, "1").replace(/\bFalse\b/g, "0")
      .replace(/\\begin\{\w+\}(\{[lcr|]+\})?|\\end\{\w+\}|\\(left|right)\b|\$|Parameter containing:/g, "")
      .replace(/\\\\|;/g, "\n").replace(/&/g, " ")
      .replace(/\b(?:(?:np|numpy|torch)\.)?(?:tensor|array|matrix|float\d*)\s*\(/g, "(")
      .replace(/,\s*[a-z]\w*=(?:<[^>]*>|[^\])]*)/g, "")
      .replace(/^\s*(?!nan|inf)\p{L}[^[\n]*?[:=,\s]\s*(?=[[({\d.+-])/u, "")
      .replace(/\(\s*([^\s(),]+)\s*\)/g, "$1"); // as in np.float32(0.1)
  }

  // The number of a text and its reach. Throws where it is none.
  function readNumber(text) {
    const match = /^[-+]?(?:\d+\.?(\d*)|\.(\d+))(?:e([-+]?\d+))?$/i.exec(text);
    const x = Number(text);
    if (!match || !Number.isFinite(Math.fround(x))) {
      throw new Error(`“${text}” is not a number; write one like 0.1223, with a point`);
    }
    const [, decimals = match[2], , exponent = 0] = match;
    const count = decimals.length - exponent;
    return { x, text, decimals: count, reach: Math.max(10 ** -count / 2, SINGLE * Math.abs(x)) };
  }

  // A matrix X and the reaches H of its entries: rows in brackets of their own, or by lines.
  function readMatrix(text) {
    const bare = bareText(text);
    const group = /[[({]([^[\](){}]*)[\])}]/g;
    const groups = Array.from(bare.matchAll(group), match => match[1]);
    const rest = groups.length ? bare.replace(group, "").replace(/[[\](){},\s]/g, "") : "";
    if (rest) throw new Error(`“${rest}” stands outside of the rows in brackets`);
    const rows = groups.length > 1 ? groups : (groups[0] ?? bare).split("\n");
    const words = rows.map(row => row.split(/[\s,]+/).filter(Boolean)).filter(row => row.length);
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
  const exactly = X => ({ X, H: X.map(row => row.map(() => 0)) });

  // Singular values, the largest first, and approximate(rank), the truncated SVD: one-sided Jacobi turns pairs of
  // columns until all are orthogonal. With signs of the singular vectors, approximate takes V for Vᵀ.
  function svd(A) {
    const columns = A[0].map((_, j) => A.map(row => row[j]));
    const turns = columns.map((_, j) => columns.map((_, k) => Number(j === k)));
    for (let sweep = 0; sweep < 40; sweep++) {
      for (let p = 0; p < columns.length; p++) {
        for (let q = p + 1; q < columns.length; q++) {
          const [u, v] = [columns[p], columns[q]];
          const across = dot(u, v);
          if (Math.abs(across) <= 1e-15 * norm(u) * norm(v)) continue;
          const angle = Math.atan2(2 * across, dot(v, v) - dot(u, u)) / 2;
          const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
          for (const vectors of [columns, turns]) {
            const [x, y] = [vectors[p], vectors[q]];
            vectors[p] = x.map((_, k) => cosine * x[k] - sine * y[k]);
            vectors[q] = x.map((_, k) => sine * x[k] + cosine * y[k]);
          }
        }
      }
    }
    const order = columns.map((_, k) => k).sort((p, q) => norm(columns[q]) - norm(columns[p]));
    const values = order.map(k => norm(columns[k])).slice(0, A.length);
    const approximate = (rank, signs) => A.map((row, i) => row.map((_, j) => sum(order.slice(0, rank).map((p, k) =>
      columns[p][i] * (signs ? signs[k] * signs[j] * turns[order[j]][k] : turns[p][j])))));
    return { values, approximate };
  }

  function multiply(U, V) {
    const most = (x, hx, y, hy) => (Math.abs(x) + hx) * (Math.abs(y) + hy) - (1 - SINGLE) * Math.abs(x * y);
    return {
      X: U.X.map(u => V.X.map(v => dot(u, v))),
      H: U.X.map((u, i) => V.X.map((v, j) => sum(u.map((x, k) => most(x, U.H[i][k], v[k], V.H[j][k]))))),
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

  // ------------------------------------------------------------------ ranges
  const around = (x, reach) => ({ x, low: x - reach, high: x + reach });
  const through = ({ x, low, high }, f, count) => ({ x: f(x, count), low: f(low, count), high: f(high, count) });
  const meet = (a, b) => a.low <= b.high && b.low <= a.high;

  // The forms in which the typed number is one of `count` squares with this sum.
  const formsOf = (typed, squares, count) => FORMS.filter(([, form]) => meet(typed, through(squares, form, count)));

  // The sum of the squared differences at these places.
  function squaredError(A, { X, H }, at = places(A)) {
    const blur = SINGLE * norm(A) / Math.sqrt(at.length); // what single precision may change in A - X
    const total = change => sum(at.map(([i, j]) => change(Math.abs(A[i][j] - X[i][j]), H[i][j] + blur) ** 2));
    const low = total((error, reach) => Math.max(error - reach, 0));
    return { x: total(error => error), low, high: total((error, reach) => error + reach) };
  }

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
      // What the field holds; null where it is empty, or where a verdict says that it cannot be read.
      const read = (name, parse) => {
        try {
          return texts[name].trim() ? parse(texts[name]) : null;
        } catch (error) {
          return say(name, "cannot be read", `${error.message}.`) && null;
        }
      };
      return { say, read };
    };
    const task = readTask(inGroup("matrix"));
    if (task) {
      judgeDescent({ ...task, ...inGroup("descent") }, resultsOf);
      judgeSvd({ ...task, ...inGroup("svd") });
      judgeCompletion({ ...task, ...inGroup("completion") }, resultsOf);
    }
    return verdicts;
  }

  // What all groups need: A and the rank, the SVD, and how to read a matrix and a number.
  function readTask({ say, read }) {
    const A = read("A", text => {
      const { X } = readMatrix(text);
      if (!X.length || X.length * X[0].length > 400) throw new Error("A has 1 to 400 numbers");
      return X;
    });
    const rank = A && read("rank", text => {
      const limit = Math.min(A.length, A[0].length);
      if (/^\s*[1-9]\d*\s*$/.test(text) && text <= limit) return Number(text);
      throw new Error(`the rank of a matrix of this shape is a whole number from 1 to ${limit}`);
    });
    if (!rank) return null;
    const { values, approximate } = svd(A);
    const floor = through(around(norm(values.slice(rank)), SINGLE * norm(A)), x => Math.max(x, 0) ** 2);
    say("A rank", "", `The singular values of A are ${values.map(x => show(x)).join(", ")}. The floor at rank ` +
      `${rank} is ${show(floor.x)}: no matrix of rank ${rank} has a smaller loss.`);

    const matrix = (m, n) => text => {
      const typed = readMatrix(text);
      const [rows, columns] = [typed.X.length, typed.X[0]?.length];
      if (rows === m && columns === n) return typed;
      throw new Error(`${m} rows of ${n} numbers are needed here, and there are ${rows} of ${columns}`);
    };
    const number = text => {
      const typed = readNumber(bareText(text).replace(/^[[({\s]+|[\])}\s]+$/g, ""));
      if (typed.x < 0) throw new Error("a sum of squares is not negative");
      return { ...typed, ...around(typed.x, typed.reach), decimals: Math.min(Math.max(typed.decimals, 4), 8) };
    };
    const [m, n] = [A.length, A[0].length];
    return { A, m, n, count: m * n, rank, values, approximate, floor, matrix, number };
  }

  function judgeEntries(say, names, title, typed, computed, rule) {
    const { wrong, all, worst, largest } = compare(computed, typed);
    const [x, y] = worst.values.map(value => value.toFixed(worst.gap < 5e-4 ? 7 : 4));
    say(names, wrong ? "does not agree" : "agrees", wrong
      ? `${wrong} of ${all} entries differ by more than rounding: at ${worst.place}, ${rule} is ${x} and not ${y}.`
      : `${title} differs from ${rule} by at most ${show(largest.gap)}; the rounding of what was typed explains up ` +
        `to ${show(largest.reach)}.`);
  }

  // X is of the rank only if its distance from the nearest such matrix is not more than rounding.
  function judgeRank({ rank, say }, name, { X, H }) {
    const { values } = svd(X);
    if (rank >= values.length) return; // every matrix
    const [distance, explained] = [norm(values.slice(rank)), norm(H) + SINGLE * norm(X)];
    const isFar = distance > explained;
    say(name, isFar ? "impossible" : "possible", `The matrix is ${isFar ? "not " : ""}of rank ${rank}` +
      `${isFar ? "" : " as far as its digits tell"}: it is ${show(distance)} away from the nearest such matrix, and ` +
      `the rounding of its entries explains up to ${show(explained)}.`);
  }

  function judgeDescent(task, resultsOf) {
    const { A, m, n, count, rank, matrix, number, say, read } = task;
    const U = read("sgd-u", matrix(m, rank));
    const V = read("sgd-v", matrix(n, rank));
    const product = read("sgd-reconstruction", matrix(m, n));
    const typed = read("sgd-loss", number);
    const ofFactors = U && V && multiply(U, V);
    if ((U || V) && !ofFactors) say("sgd-u sgd-v", "cannot be told", "U and V are needed, both.");
    if (product && !ofFactors) judgeRank(task, "sgd-reconstruction", product);
    if (product && ofFactors) {
      judgeEntries(say, "sgd-u sgd-v sgd-reconstruction", "The product", product, ofFactors, "U Vᵀ");
    }
    const losses = [["sgd-reconstruction", "the product", product], ["sgd-u sgd-v", "U and V", ofFactors]]
      .filter(([, , X]) => X).map(([names, title, X]) => [names, title, squaredError(A, X)]);
    if (!typed && !losses.length) return;
    for (const [names, title, range] of typed ? losses : []) {
      judgeLoss(say, `${names} sgd-loss`, title, typed, range, count);
    }
    const [names, title, range] = losses[0] ?? ["sgd-loss", "", typed];
    const canBe = ([, , toSum]) => through(typed, toSum, count).high >= task.floor.low;
    const forms = !typed ? [] : losses.length ? formsOf(typed, range, count) : [SUM];
    const form = forms.find(canBe) ?? forms[0];
    const runs = resultsOf({ A, rank });
    if (form) judgeEnds(task, runs, "sgd-loss", typed, form);
    else judgeEnds(task, runs, names, { ...range, title: `The loss of ${title}, ${inWords(range)},` }, SUM);
  }

  // Whether a run can end at the typed number, or at a range with a title, and how many seeds print it (four decimals).
  function judgeEnds({ count, rank, floor, say }, runs, names, typed, [name, form, toSum]) {
    const title = typed.title ?? `${typed.text}, ${name},`;
    const text = typed.x.toFixed(4);
    const printed = typed.reach < 5e-5 ? { ...around(Number(text), 5e-5), text } : typed;
    const hitsAs = ([, of]) => runs.filter(run => run && meet(printed, around(of(run.loss, count), 0))).length;
    const others = name === SUM[0] && typed.text && runs.length === SEEDS && !hitsAs(SUM) ? FORMS.filter(hitsAs) : [];
    const aside = others.map(other => ` As ${other[0]} it is what ${hitsAs(other)} of ${ALL_SEEDS} seeds print.`).join("");
    if (through(typed, toSum, count).high < floor.low) {
      say(names, "impossible", `${title} is below the floor, ${show(floor.x, typed.decimals)}: no matrix of rank ` +
        `${rank} comes so near to A.${aside}`);
    } else {
      const place = typed.text ? `print ${printed.text} as ${name}` : `end at ${title.replace("The", "the").slice(0, -1)}`;
      judgeSeeds(say, names, runs, run => form(run.loss, count), printed, place, aside);
    }
  }

  function judgeLoss(say, names, title, typed, range, count) {
    const [found] = formsOf(typed, range, count);
    const remark = !found ? `, and not ${typed.text}` : found === SUM ? "" : `; ${typed.text} is ${found[0]}`;
    say(names, found ? "agrees" : "does not agree", `The loss of ${title} is ${inWords(range)}${remark}.`);
  }

  // Whether some of a thousand seeds end in the range. If none does, a run from another start still may.
  function judgeSeeds(say, names, runs, measure, range, place, aside = "") {
    if (runs.length < SEEDS) {
      say(names, "counting", `${runs.length} of ${ALL_SEEDS} seeds are run.`);
      return;
    }
    const results = runs.filter(Boolean).map(measure).sort((a, b) => a - b);
    const hits = results.filter(x => range.low <= x && x <= range.high).length;
    const spread = results.length ? ` The range of all is ${show(results[0])} to ${show(results.at(-1))}.` : "";
    const diverged = runs.length > results.length ? ` ${runs.length - results.length} seeds diverge.` : "";
    const others = hits ? "" : " Another start, more or fewer epochs or another learning rate may.";
    say(names, hits ? "possible" : "cannot be told",
      `${hits || "None"} of ${ALL_SEEDS} seeds ${place}.${spread}${diverged}${others}${aside}`);
  }

  function judgeSvd({ A, m, n, count, rank, values, approximate, floor, matrix, number, say, read }) {
    const typed = read("svd-matrix", matrix(m, n));
    const loss = read("svd-loss", number);
    const [form] = loss ? formsOf(loss, floor, count) : [];
    if (form) {
      const remark = form === SUM ? "" : `, as ${form[0]}; the loss, their sum, is ${show(floor.x)}`;
      say("svd-loss", "agrees", `${loss.text} is the loss of the truncated SVD at rank ${rank}${remark}.`);
    } else if (loss) {
      const mistake = transposed({ A, rank, values, approximate }).some(x => formsOf(loss, x, count).length)
        ? " It comes out where V stands in the place of Vᵀ, which torch.linalg.svd has returned." : "";
      say("svd-loss", "impossible", `${loss.text} is not the loss of a truncated SVD at rank ${rank}: that is ` +
        `${show(floor.x, loss.decimals)} for every method.${mistake}`);
    }
    if (!typed) return;
    const gap = values[rank - 1] - (values[rank] ?? 0);
    if (gap <= SINGLE * values[0]) {
      say("svd-matrix", "cannot be told", `Singular values ${rank} and ${rank + 1} are equal: there are several such SVDs.`);
    } else {
      const reach = SINGLE * values[0] * values[rank - 1] / gap; // in single precision, ill-conditioned
      const best = { X: approximate(rank), H: A.map(row => row.map(() => reach)) };
      judgeEntries(say, "svd-matrix", "The matrix", typed, best, "the truncated SVD");
    }
    if (loss) judgeLoss(say, "svd-matrix svd-loss", "the matrix", loss, squaredError(A, typed), count);
  }

  // The losses of U S V, with V in the place of Vᵀ, truncated and whole: the signs of the singular vectors are
  // arbitrary, and here they decide.
  function transposed({ A, rank, values, approximate }) {
    const n = values.length;
    if (A.length !== A[0].length || n > 8) return [];
    const signs = Array.from({ length: 2 ** (n - 1) }, (_, s) => values.map((_, k) => (s >> k) & 1 ? -1 : 1));
    return signs.flatMap(some => [rank, n].map(kept => squaredError(A, exactly(approximate(kept, some)))));
  }

  function judgeCompletion(task, resultsOf) {
    const { A, m, n, rank, read } = task;
    const matrix = read("completed-matrix", task.matrix(m, n));
    const typed = read("completed-mse", task.number);
    const mask = (matrix || typed) && read("M", text => {
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
      judgeFit(task, matrix, observed, hidden, resultsOf({ A, M: mask, rank }));
    }
    if (typed) judgeCompletedError(task, { matrix, typed, observed, hidden });
  }

  // Whether it fits the observed entries, and whether it fits the hidden ones as if nothing were hidden.
  function judgeFit(task, matrix, observed, hidden, runs) {
    const { A, say } = task;
    const error = ({ U, V }, [i, j]) => A[i][j] - dot(U[i], V[j]);
    const nearest = Math.min(...runs.filter(Boolean).map(run => sum(places(A).map(at => error(run, at) ** 2))));
    const { x, high } = squaredError(A, matrix);
    const { wrong, largest } = compare(exactly(A), matrix, observed);
    if (hidden.length && runs.length === SEEDS && high < nearest) {
      say("completed-matrix", "cannot be told", `Over all entries it is nearer to A, ${show(x)}, than each of ` +
        `${ALL_SEEDS} seeds with this mask, ${show(nearest)} or more: as a run in which nothing is hidden.`);
      return;
    }
    if (wrong) {
      const worst = run => Math.max(...observed.map(at => Math.abs(error(run, at))));
      const { gap, reach, place } = largest;
      judgeSeeds(say, "completed-matrix", runs, worst, { low: gap - reach, high: Infinity },
        `miss an observed entry by as much as this matrix, ${show(gap)} at ${place}, or by more`);
    } else {
      say("completed-matrix", "possible", "It fits all observed entries, as far as its digits tell.");
    }
    if (hidden.length) judgeHidden(task, matrix, hidden, largest.gap);
  }

  // With two gaps in a 3 x 3 matrix and rank 2, the exact completions are a curve: the determinant is 0.
  function judgeHidden({ A, m, n, rank, say }, { X, H }, hidden, missed) {
    const each = entry => hidden.map(entry).join(" and ");
    let curve = "";
    if (m === 3 && n === 3 && rank === 2 && hidden.length === 2) {
      const [[i, j], [k, l]] = hidden;
      // As a function of the second hidden entry, the determinant is a straight line.
      const curveAt = x => {
        const at = y => determinant(replace(A, [[i, j, x], [k, l, y]]));
        return at(0) / (at(0) - at(1));
      };
      const x = X[i][j];
      const ends = [x - H[i][j], x + H[i][j]].map(curveAt);
      const exact = { low: Math.min(...ends), high: Math.max(...ends) };
      curve = meet(around(X[k][l], H[k][l]), exact) ? " They lie on the curve of exact completions."
        : ` On the curve of exact completions ${show(x)} goes with ${show(curveAt(x))}: but this matrix misses ` +
          `observed entries by up to ${show(missed)}.`;
    }
    say("completed-matrix", "", `The hidden entries are ${each(([i, j]) => show(X[i][j]))}; those of A are ` +
      `${each(([i, j]) => show(Math.abs(A[i][j] - X[i][j])))} away.${curve}`);
  }

  // What the typed number is of the matrix's errors, and what it is where the gaps are filled with the mean.
  function judgeCompletedError({ A, count, rank, floor, say }, { matrix, typed, observed, hidden }) {
    const average = sum(observed.map(([i, j]) => A[i][j])) / observed.length;
    const filled = sum(hidden.map(([i, j]) => (A[i][j] - average) ** 2));
    if (!matrix) {
      const isBelow = FORMS.every(([, , toSum]) => through(typed, toSum, count).high < floor.low);
      say("completed-mse", isBelow ? "impossible" : "cannot be told", isBelow
        ? `No matrix of rank ${rank} has a mean squared error below ${show(floor.x / count)}, nor is it a sum or a root.`
        : "The completed matrix is needed.");
      return;
    }
    const zeros = replace(A, hidden.map(at => [...at, 0]));
    const meanings = [
      ["over all entries", places(A), A], ["over the hidden ones", hidden, A], ["over the observed ones", observed, A],
      ["against a matrix with 0 in its gaps, which A is not", places(A), zeros],
    ].flatMap(([where, at, B]) => formsOf(typed, squaredError(B, matrix, at), at.length)
      .map(form => ({ where, at, form, isRight: B === A })));
    const [meaning] = meanings;
    if (meaning?.isRight) {
      const { where, at, form: [name, form] } = meaning;
      const filler = form(filled, at.length);
      const better = hidden.length && at !== observed && typed.low > filler
        ? ` To fill the gaps with the mean of the observed entries would be better: ${show(filler)}.` : "";
      const own = through(squaredError(A, matrix, at), form, at.length);
      say("completed-mse", "agrees", `${typed.text} is ${name} ${where}: ${inWords(own)}.${better}`);
    } else {
      const found = meaning ? ` It is ${meaning.form[0]} ${meaning.where}.` : "";
      const own = squaredError(A, matrix).x;
      say("completed-mse", "does not agree", `${typed.text} is neither the sum of the matrix's squared errors, ` +
        `${show(own)}, nor their mean, ${show(own / count)}, nor a root of these.${found} With the mean of the ` +
        `observed entries in the gaps the sum is ${show(filled)}, and the mean ${show(filled / count)}.`);
    }
  }

  // ------------------------------------------------------------------ in the page
  function mount(page) {
    const fields = [...page.querySelectorAll("textarea, input")];
    const done = new Map(); // the runs of each call of sgd
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
        page.querySelector(`[data-group="${group}"]`).replaceChildren(...list.map(writeVerdict));
      }
      const countOf = sign => all.filter(([, verdict]) => SIGNS[verdict] === sign).length;
      const counts = Object.entries(SUMMARY).filter(([sign]) => countOf(sign));
      const summary = counts.map(([sign, words]) => `${countOf(sign)} ${words}`).join(", ");
      page.querySelector("output").textContent = summary || "Nothing to judge: A, the rank and a number are needed";
      timer ??= requestAnimationFrame(slice);
    }

    function fill(textOf) {
      for (const field of fields) field.value = textOf(field);
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
      label.className = `verdict ${{ "✓": "reproduced", "✗": "refuted" }[SIGNS[verdict]] ?? "qualified"}`;
      label.textContent = `${SIGNS[verdict]} ${verdict}`;
      item.append(label, ": ");
    }
    item.append(reason);
    return item;
  }

  document.querySelectorAll(".possible").forEach(mount);
})();
