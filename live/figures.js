// The live figures: what mf_figures.py stored as a still picture and data comes to life here. At the left is the
// thing itself, at the right where it stands, and under both the controls and what can be said.
"use strict";

(() => {
  const { sgd, epochs, rand, runSlice, dot, product, singularValues, determinant } = window.mf;
  const { unpack, makePlot, makeGrid, shown, training } = window.mf;
  const COUNTS = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

  // ------------------------------------------------------------------ the kinds of figures
  // A kind takes what the figure offers (see `live`) and its data. It gives back a function that draws for the
  // settings and returns what is said: a first sentence, and the rest. The function may have a `judge`, which says
  // after a guess which choice was right, and why; and a `play`, which the button Train starts.
  const kinds = { completion, stages, seeds, beat, photo, starts, training };

  // The first page and 3.1: a matrix with gaps. `open` names them, such as "10 21" for row 1, column 0 and row 2,
  // column 1; `at` is a pair of values that the reader has chosen, or "" for the end of the run.
  function completion({ thing, plots: [plot], move, set, settings, later }, { A: own, cloud: finished }) {
    const fill = makeGrid(thing, "The matrix: press a number to open it, or to close it", { press });
    const gapsOf = ({ open }) => [...new Set(open.match(/\b[012]{2}\b/g))];
    const keyOf = ({ open, lr, epochs }, A) => [open, lr, epochs, ...A.flat()].join();
    const ownKey = keyOf(settings(), own);
    let task = {};

    function press(i, j) {
      const open = new Set(gapsOf(settings()));
      if (!open.delete(`${i}${j}`)) open.add(`${i}${j}`);
      set({ open: [...open].sort().join(" "), at: "" }, true);
    }

    // A start between those of two seeds, where the slider stands between them.
    function startOf(seed) {
      const [low, high] = [Math.floor(seed), Math.ceil(seed)].map(whole => rand(whole, 12));
      return low.map((x, k) => x + (seed - Math.floor(seed)) * (high[k] - x));
    }

    // All that does not depend on the seed: made once for a matrix and its gaps. The cloud is where other seeds end.
    function prepare(current) {
      const A = own.map((row, i) => row.map((x, j) => current[`a${i}${j}`] ?? x));
      const key = keyOf(current, A);
      if (key === task.key) return;
      if (!A.flat().every(Number.isFinite)) throw new Error("one of the nine fields holds no number");
      const gaps = gapsOf(current).map(([i, j]) => [Number(i), Number(j)]);
      const M = A.map((row, i) => row.map((_, j) => !gaps.some(([k, l]) => k === i && l === j)));
      const at = X => gaps.map(([i, j]) => X[i][j]);
      const call = { A, M, rank: 2, num_epochs: current.epochs, lr: current.lr };
      task = { key, A, M, gaps, at, call, cloud: key === ownKey ? finished : [] };
      frame();
      if (!gaps.length || task.cloud.length) return later(null);
      const runs = [];
      later(() => {
        const isLeft = runSlice(runs, finished.length, call);
        task.cloud = runs.filter(Boolean).map(run => at(product(run)));
        frame();
        return isLeft;
      });
    }

    // The axes hold the true values and most of the cloud; where there is one gap there is one axis.
    function frame() {
      const { gaps, cloud, at, A } = task;
      ["across", "up"].forEach((side, k) => {
        const truth = at(A)[k] ?? 0;
        const values = cloud.map(point => point[k]).sort((x, y) => x - y);
        const quantile = share => values[Math.round(share * (values.length - 1))] ?? truth;
        const [low, high] = [Math.min(quantile(0.03), truth), Math.max(quantile(0.97), truth)];
        const room = 0.15 * (high - low) + 0.1;
        const label = k < gaps.length ? `row ${gaps[k][0] + 1}, column ${gaps[k][1] + 1}` : "";
        plot[side] = label ? { label, ends: [low - room, high + room] } : { label, ends: [0, 1], hidden: true };
      });
      task.curve = gaps.length === 2 ? curve() : [];
    }

    function put(values) {
      const X = task.A.map(row => row.slice());
      task.gaps.forEach(([i, j], k) => { X[i][j] = values[k]; });
      return X;
    }

    // The k-th value that goes with the others in a matrix of rank 2: its determinant is 0, and linear in each value.
    function solve(k, values) {
      const [zero, one] = [0, 1].map(x => determinant(put(values.with(k, x))));
      return Math.abs(one - zero) < 1e-9 ? NaN : -zero / (one - zero);
    }

    // The exact completions of two gaps: y for each x, and x for each y where the curve is steep.
    function curve() {
      const points = [["across", 1], ["up", 0]].map(([side, k]) => {
        const [low, high] = plot[side].ends;
        const [first, last] = plot[k ? "up" : "across"].ends;
        return Array.from({ length: 401 }, (_, step) => low + step / 400 * (high - low)).map(x => {
          const other = solve(k, [x, x]);
          const isSeen = other > first && other < last;
          return k ? [x, isSeen ? other : NaN] : [isSeen ? other : NaN, x];
        });
      });
      return [...points[0], [NaN, NaN], ...points[1]];
    }

    function draw(current) {
      prepare(current);
      const { gaps, A, M, call, at, cloud } = task;
      const chosen = current.at.split(" ").filter(Boolean).map(Number).filter(Number.isFinite);
      const way = [];
      const record = (epoch, U, V) => {
        if (epoch % Math.max(2, epoch >> 5) === 0) way.push(gaps.map(([i, j]) => dot(U[i], V[j])));
      };
      const run = sgd({ ...call, init: startOf(current.seed), callback: record });
      let X = product(run);
      if (chosen.length === 2 && gaps.length > 1) {
        const values = [...chosen, ...at(X).slice(2)];
        if (gaps.length > 2) values[gaps.length - 1] = solve(gaps.length - 1, values);
        X = put(values);
      }
      const values = at(X);
      const exact = gaps.length === 1 ? solve(0, [0]) : NaN;
      const place = (point, k) => (gaps.length === 1 ? [point[0], 0.5 + 0.03 * ((k + 7) % 15 - 7)] : point.slice(0, 2));
      const shownWay = gaps.length > 1 && !chosen.length ? way : [];
      const fits = gaps.length === 1 ? [[exact, 0], [exact, 1]] : task.curve;
      fill(X, A, M.map(row => row.map(seen => !seen)));
      move("cloud", gaps.length ? cloud.map(place) : []);
      move("curve", fits.every(([x, y]) => Number.isNaN(x + y)) ? [] : fits);
      move("way", shownWay.map(place));
      move("true", gaps.length ? [place(at(A), 0)] : []);
      move("end", gaps.length ? [place(values, 0)] : []);
      plot.notes = gaps.length ? arrowTo(exact) : [{ text: "Press a number to open it.", at: [0.5, 0.5] }];
      const said = describe({ chosen, values, exact, X });
      plot.say(values[0] ?? 0, said[0]);
      return said;
    }

    function arrowTo(exact) {
      const [low, high] = plot.across.ends;
      if (exact < low) return [{ text: `← exact: ${shown(exact)}`, at: [low, 0.85], anchor: "start" }];
      return exact > high ? [{ text: `exact: ${shown(exact)} →`, at: [high, 0.85], anchor: "end" }] : [];
    }

    function describe({ chosen, values, exact, X }) {
      const { gaps, A, M, call, at } = task;
      const missed = Math.max(0, ...A.flatMap((row, i) => row.map((x, j) => (M[i][j] ? Math.abs(x - X[i][j]) : 0))));
      const number = COUNTS[gaps.length];
      const rest = gaps.length === 8 ? "one that is left" : `other ${COUNTS[9 - gaps.length]}`;
      const after = inWords(call.num_epochs);
      if (!gaps.length) {
        const least = singularValues(A)[2] ** 2;
        return [`Nothing is open. This run misses a number by ${missed.toFixed(4)}.`, `No matrix of rank 2 has a smaller sum of squared errors than ${least.toFixed(4)}.`];
      }
      if (gaps.length === 9) return ["Everything is open: nothing is left to fit.", ""];
      const fit = missed < 0.005 ? `fits the ${rest} to within ${missed < 5e-5 ? "0.0001" : missed.toFixed(4)}`
        : `still misses ${gaps.length < 8 ? "one of " : ""}the ${rest} by ${missed.toFixed(4)} after ${after}`;
      const list = values.map(shown).join(values.length > 2 ? ", " : " and ");
      const start = chosen.length ? chosen.map(shown).join(" and ") : list;
      const added = chosen.length && gaps.length > 2 ? ` With what the run and the fit add, that is ${list}.` : "";
      const head = chosen.length ? `You chose ${start}.${added}` : `This start leads to ${list}, and ${fit}.`;
      const truth = isSingular(A) ? "★ is on it." : "★ is not on it: the full matrix has rank 3, and the fit has rank 2.";
      const isFree = [[0, 0], [1, 0], [0, 1], [1, 1]].every(pair => isSingular(put([...pair, ...at(A).slice(2)])));
      if (gaps.length < 3 && isFree) return [head, `Every ${gaps.length > 1 ? "pair" : "value"} fits the ${rest} exactly.`];
      if (gaps.length === 1) {
        if (!Number.isFinite(exact)) return [head, `No value fits the ${rest} exactly.`];
        const [largest, middle] = singularValues(A);
        const slope = Math.abs(determinant(put([1])) - determinant(put([0])));
        const why = slope < 0.05 * largest * middle ? ": the others hardly hold it" : "";
        const far = Math.abs(values[0] - exact) > 0.02 ? ` After ${after} this run is not there${why}.` : "";
        return [head, `Exactly one value fits the ${rest}: ${shown(exact)}.${far}`];
      }
      if (gaps.length === 2) {
        const isLine = gaps[0].some((x, k) => x === gaps[1][k]);
        if (!pointsOf("curve").length) return [head, `No pair in sight fits the ${rest} exactly.`];
        return [head, `Every point of the ${isLine ? "line" : "curve"} fits the ${rest} exactly. The true pair ${truth}`];
      }
      const little = `The ${rest} say${gaps.length === 8 ? "s" : ""} next to nothing.`;
      if (gaps.length === 3) return [head, `The exact fits are a surface: for nearly each pair of values there is a third one. ${little}`];
      return [head, `Of the ${number} open numbers you may choose all but one, and nearly always the last one makes the fit exact. ${little}`];
    }

    // Of rank 2 or less, as far as seven digits tell.
    function isSingular(X) {
      const [first, , third] = singularValues(X);
      return third <= 1e-4 * first;
    }

    const pointsOf = name => plot.lines.find(line => line.name === name).points;
    const choose = pair => set({ at: pair.map(x => Number(x.toFixed(4))).join(" ") });

    // The dot goes to the nearest point of the curve, or, with more gaps, anywhere.
    function drag(point) {
      if (task.gaps.length > 2) return choose(point);
      const [px, py] = plot.pixelOf(point);
      const far = ([x, y]) => Math.hypot(x - px, y - py);
      const points = pointsOf("curve").filter(([x, y]) => Number.isFinite(x + y));
      if (task.gaps.length < 2 || !points.length) return;
      choose(points.reduce((best, next) => (far(plot.pixelOf(next)) < far(plot.pixelOf(best)) ? next : best)));
    }

    function step(across, up) {
      if (task.gaps.length < 2) return;
      const by = [["across", across], ["up", up]].map(([side, steps]) => 0.01 * steps * (plot[side].ends[1] - plot[side].ends[0]));
      const pair = pointsOf("end")[0].map((x, k) => x + by[k]);
      if (task.gaps.length === 2) pair[across ? 1 : 0] = solve(across ? 1 : 0, pair);
      if (pair.every(Number.isFinite)) choose(pair);
    }

    plot.grab({ label: "the values of the open entries", to: drag, step, touch: "none" });
    draw.release = ["at"]; // a new start takes the place of a chosen pair
    return draw;
  }

  // 1.1: the singular values of U V^T by epoch, above the loss; the cursor is an epoch.
  function stages({ thing, plots, move, set, settings }, { A, S }) {
    const fill = makeGrid(thing, "U Vᵀ at this epoch, and below it A");
    const last = plots[0].across.ends[1];
    const heights = plots.map(plot => plot.up.ends);
    const floorOf = rank => S.slice(rank).reduce((sum, x) => sum + x * x, 0);
    let trained = {};
    let before = null; // the settings of the run that a guess compares with

    function train({ lr, rank, seed }, num_epochs = last) {
      const factors = []; // of each epoch
      let failure = null;
      try {
        for (const { U } of epochs({ A, rank, num_epochs, lr, seed })) factors.push(new Float32Array(U[0].buffer.slice()));
      } catch (error) {
        failure = error;
      }
      return { rank, factors, failure, states: [] };
    }

    // What a run has learned after an epoch, computed where it is asked for.
    function stateAt({ rank, factors, states }, epoch) {
      return states[epoch] ??= measure([0, 1, 2, 3, 4, 5].map(k => factors[epoch].subarray(k * rank, (k + 1) * rank)));
    }

    function measure(rows) {
      const [U, V] = [rows.slice(0, 3), rows.slice(3)];
      const P = product({ U, V });
      const missed = A.reduce((sum, row, i) => row.reduce((sum, x, j) => sum + (x - P[i][j]) ** 2, sum), 0);
      return { P, sigma: singularValues(P), loss: missed, length: Math.hypot(...V.flatMap(row => [...row])) };
    }

    // A curve of a long run has a point for every second epoch, later for every eighth.
    function curve(name, run, get) {
      const all = [...run?.factors.keys() ?? []];
      const drawn = all.filter(k => all.length < 101 || k % (k < 100 ? 2 : 8) === 0);
      move(name, drawn.map(k => [k, get(stateAt(run, k))]));
    }

    // A run that overflows is soon over: the axes show just these epochs, and how far up they lead.
    function frame(run) {
      const { factors, failure } = run;
      const { loss, length } = stateAt(run, factors.length - 1);
      plots.forEach((plot, k) => {
        plot.across.ends = [0, failure ? Math.max(6, Math.ceil(1.1 * factors.length)) : last];
        plot.up.ends = failure ? [heights[k][0], Math.max(heights[k][1], 3 * [length ** 2, loss][k])] : heights[k];
      });
    }

    function draw(current) {
      const { lr, rank, seed } = current;
      const key = [lr, rank, seed].join();
      if (key !== trained.key) trained = { key, run: train(current), pale: before && train(before) };
      const { run, pale } = trained;
      const epoch = Math.min(Math.max(current.epoch, 0), run.factors.length - 1);
      const state = stateAt(run, epoch);
      frame(run);
      ["first", "second", "third"].forEach((name, k) => curve(name, k < rank ? run : null, ({ sigma }) => sigma[k]));
      curve("length", run, ({ length }) => length);
      curve("loss", run, ({ loss }) => loss);
      curve("before", pale, ({ sigma }) => sigma[1]);
      curve("loss-before", pale, ({ loss }) => loss);
      move("floor", [0, last].map(x => [x, floorOf(rank)]));
      for (const name of ["cursor", "loss-cursor"]) move(name, [1e-9, 1e99].map(y => [epoch, y]));
      move("dots", state.sigma.slice(0, rank).map(x => [epoch, x]));
      move("dot", [[epoch, state.loss]]);
      fill(state.P, A);
      const head = `Epoch ${epoch}: loss ${shown4(state.loss)}.`;
      for (const plot of plots) plot.say(epoch, head);
      if (run.failure && epoch === run.factors.length - 1) return [`${head} The numbers run away.`, `V is ${shown4(state.length)} long, and in the next epoch its numbers are too large for the computer: lr = ${lr} is too large.`];
      return [head, `${stageOf(run, epoch)} ${growth(run, epoch, lr)}`];
    }

    function stageOf(run, epoch) {
      const { rank, factors } = run;
      const { sigma, loss } = stateAt(run, epoch);
      const isLearned = (k, share) => sigma[k] > share * S[k];
      if (!isLearned(0, 0.94)) return "The first direction is not yet learned.";
      if (rank > 1 && !isLearned(1, 0.15)) {
        const [rest, name] = [floorOf(1).toFixed(4), "the floor of rank 1"];
        return `The first direction is learned. The second is near 0: ` +
          (loss < 1.05 * floorOf(1) ? `so the loss rests near ${rest}, ${name}.` : `without it no loss is below ${rest}, ${name}.`);
      }
      if (rank > 1 && !isLearned(1, 0.93)) return "The second direction is on its way.";
      if (rank === 3) return isLearned(2, 0.93) ? "All three directions are learned." : "The third direction is on its way.";
      const learned = rank === 1 ? "The one direction that rank 1 has room for is" : "Both directions are";
      if (loss < 1.02 * floorOf(rank)) return `${learned} learned${rank === 1 ? "" : ", and rank 2 has no room for a third"}: hence the floor.`;
      const from = Math.min(epoch, Math.max(factors.length - 21, 0));
      const isFalling = stateAt(run, Math.min(from + 20, factors.length - 1)).loss < 0.999 * stateAt(run, from).loss;
      return isFalling ? `${learned} nearly learned.` : `${learned} learned, but at this rate the steps do not settle on the floor.`;
    }

    // By equation (1.5) an epoch multiplies the second direction by e^(2 lr sigma_2) at most.
    function growth(run, epoch, lr) {
      if (run.rank === 1 || epoch + 100 >= run.factors.length) return "";
      const [now, then] = [epoch, epoch + 100].map(k => stateAt(run, k));
      const [factor, most] = [then.sigma[1] / now.sigma[1], Math.exp(200 * lr * S[1])];
      if (now.sigma[0] < 0.94 * S[0] || now.sigma[1] > 0.5 * S[1] || factor < 1.05 || factor > most) return "";
      return `In 100 epochs the second grows ${factor.toFixed(1)}-fold; (1.5) allows e^(100 · 2 · lr · σ₂) = ${most.toFixed(1)}.`;
    }

    function halfway(at) {
      const run = train(at, 2 * last);
      return run.factors.findIndex((_, epoch) => stateAt(run, epoch).sigma[1] > S[1] / 2);
    }

    draw.compare = from => {
      before = from;
      trained = {};
    };
    draw.judge = () => {
      const [slow, plain] = [settings(), before].map(halfway);
      if (Math.min(slow, plain) < 1) return [null, "In this run the second direction does not grow to half its size. Take rank 2 and seed 0"];
      return [[0.75, 1.5].filter(times => slow > times * plain).length, `the second direction has half its size after ${slow} epochs in place of ${plain}, because each step is half as long`];
    };
    for (const plot of plots) {
      const go = epoch => set({ epoch: Math.min(Math.max(Math.round(epoch), 0), last) });
      plot.grab({ label: "epoch", to: ([x]) => go(x), step: (across, up) => go(settings().epoch + 10 * (across + up)) });
    }
    return draw;
  }

  // 1.2: one run's product, and how the losses of a thousand seeds are spread. A seed is found by its loss, too.
  function seeds({ thing, plots: [plot], move, set, settings, later }, { A, losses, floor, reported }) {
    const fill = makeGrid(thing, "U Vᵀ of this seed, and below it A");
    const first = { epochs: settings().epochs, ascending: ascending(losses) };
    let spread = first;
    let before = null;

    function ascending(losses) {
      return Array.from(losses, (x, seed) => [x, seed]).sort(([x], [y]) => x - y);
    }

    // The losses after so many epochs; the last complete spread stays, pale.
    function sweep(num_epochs) {
      if (spread.ascending.length === losses.length) before = spread;
      const runs = [];
      spread = num_epochs === first.epochs ? first : { epochs: num_epochs, ascending: [] };
      later(spread === first ? null : () => {
        const isLeft = runSlice(runs, losses.length, { A, rank: 2, num_epochs });
        spread.ascending = ascending(runs.map(run => run?.loss ?? Infinity));
        return isLeft;
      });
    }

    const hits = ({ ascending }) => ascending.filter(([x]) => x.toFixed(4) === reported.toFixed(4)).length;
    const shares = ascending => ascending.map(([x], k) => [x - floor, (k + 1) / ascending.length]);

    function draw({ seed, epochs }) {
      if (epochs !== spread.epochs) sweep(epochs);
      const run = sgd({ A, rank: 2, num_epochs: epochs, seed });
      const done = spread.ascending.length;
      fill(product(run), A);
      move("share", shares(spread.ascending));
      move("before", before && before !== spread ? shares(before.ascending) : []);
      move("own", [[run.loss - floor, spread.ascending.filter(([x]) => x <= run.loss).length / Math.max(done, 1)]]);
      const head = `Seed ${seed} after ${inWords(epochs)}: loss ${run.loss.toFixed(4)}; the floor is ${floor.toFixed(4)}.`;
      const among = done < losses.length ? `Of ${done} seeds, with more to come,` : `Of ${done.toLocaleString("en")} seeds,`;
      plot.say(seed, head);
      return [head, `${among} ${hits(spread)} print ${reported}, the hand-in's loss.`];
    }

    draw.judge = () => {
      const [then, now] = [hits(first), hits(spread)];
      return [Number(now > then), `${then} seeds print ${reported} after ${inWords(first.epochs)}, and ${now} after ${inWords(spread.epochs)}. More epochs move nearly all of the curve to the left, past ${reported}`];
    };
    function go(k) {
      const { ascending } = spread;
      if (ascending.length) set({ seed: ascending[Math.min(Math.max(k, 0), ascending.length - 1)][1] });
    }
    plot.grab({
      label: "seed, by its loss",
      to: ([x]) => go(spread.ascending.findLastIndex(([loss]) => loss - floor <= x)),
      step: (across, up) => go(spread.ascending.findIndex(([, seed]) => seed === settings().seed) + across + up),
    });
    return draw;
  }

  // 2.1: the matrix of rank 2 that sends a direction w to 0 and is A across it. All directions are a globe, a picture
  // that is the bluer the longer A makes them; `view` is the direction that the reader faces.
  function beat({ thing, plots: [plot], move, set, settings }, { A, floor, globe, view: [turn, tilt] }) {
    const fill = makeGrid(thing, "B, and below it A");
    const radians = degrees => degrees * Math.PI / 180;
    const east = direction({ turn: turn + 90, tilt: 0 });
    const north = direction({ turn, tilt: tilt + 90 });
    const front = direction({ turn, tilt });
    const lossOf = w => A.reduce((sum, row) => sum + dot(row, w) ** 2, 0); // |A w|^2: B is A but for A w w^T
    plot.backdrop = globe.match(/src="(.*)"/)[1];

    function direction({ turn, tilt }) {
      const [alpha, beta] = [turn, tilt].map(radians);
      return [Math.cos(alpha) * Math.cos(beta), Math.sin(alpha) * Math.cos(beta), Math.sin(beta)];
    }

    // The direction at a point of the disc: east, north, and to the front what is left.
    function above([x, y]) {
      const shrink = Math.max(1, Math.hypot(x, y));
      const [e, n] = [x / shrink, y / shrink];
      const f = Math.sqrt(Math.max(0, 1 - e * e - n * n));
      return front.map((_, k) => e * east[k] + n * north[k] + f * front[k]);
    }

    // Where on the disc w or -w is seen, which are the same for B.
    function below(w) {
      return [east, north].map(axis => (dot(w, front) < 0 ? -1 : 1) * dot(w, axis));
    }

    function go(w) {
      const [x, y, z] = w.map(x => x * (Math.sign(w[0]) || 1));
      const degrees = angle => Math.round(angle * 360 / Math.PI) / 2;
      set({ turn: degrees(Math.atan2(y, x)), tilt: degrees(Math.asin(Math.min(Math.max(z, -1), 1))) });
    }

    plot.grab({
      label: "the direction w that B sends to 0",
      to: point => go(above(point)),
      step: (across, up) => go(above(below(direction(settings())).map((x, k) => x + 0.02 * [across, up][k]))),
      touch: "none",
    });
    return current => {
      const w = direction(current);
      fill(A.map(row => row.map((x, j) => x - dot(row, w) * w[j])), A);
      move("now", [below(w)]);
      const [length, loss] = [Math.sqrt(lossOf(w)), lossOf(w)];
      const head = `A makes w ${length.toFixed(4)} long; this B makes it 0 and is A across it, so its loss is ${length.toFixed(4)}² = ${loss.toFixed(4)}.`;
      plot.say(current.turn, head);
      if (loss - floor < 0.0005) return [head, `You are within 0.0005 of the floor, ${floor.toFixed(4)}: A makes no direction shorter, so no matrix of rank 2 has a smaller loss.`];
      return [head, `That is ${(loss - floor).toFixed(4)} above the floor. Is there a place on the globe that is less blue, a direction that A makes shorter?`];
    };
  }

  // 2.1 and the first page: a photograph from the first columns of its factors. The dot on the curve is the rank.
  function photo({ thing, plots: [plot], move, set, settings }, { shape: [m, n], S, U, V }) {
    const [[u], [v]] = [U, V].map(unpack);
    thing.innerHTML = `<canvas width="${n}" height="${m}" role="img" aria-label="the portrait at this rank"></canvas>`;
    const context = thing.firstChild.getContext("2d");
    const image = context.createImageData(n, m); // four numbers a pixel: red, green, blue, opacity
    const brightness = new Float32Array(m * n);
    const go = rank => set({ rank: Math.min(Math.max(Math.round(rank), 1), n) });
    plot.grab({ label: "rank", to: ([x]) => go(x), step: (across, up) => go(settings().rank + across + up) });
    return ({ rank }) => {
      brightness.fill(0);
      for (let k = 0; k < rank; k++) {
        for (let i = 0; i < m; i++) {
          const x = u[k * m + i];
          for (let j = 0; j < n; j++) {
            brightness[i * n + j] += x * v[k * n + j];
          }
        }
      }
      brightness.forEach((x, pixel) => {
        image.data.fill(255 * x, 4 * pixel, 4 * pixel + 3);
        image.data[4 * pixel + 3] = 255;
      });
      context.putImageData(image, 0, 0);
      const missed = S.slice(rank).reduce((sum, x) => sum + x ** 2, 0);
      const share = Math.round(100 * rank * (m + n + 1) / (m * n));
      move("rank", [[rank, missed]]);
      const head = `Rank ${rank}: ${share}% of the photograph's ${(m * n).toLocaleString("en")} numbers, loss ${missed.toFixed(2)}.`;
      plot.say(rank, head);
      return [head, ""];
    };
  }

  // 4.1: what runs from three starts predict for one empty cell, by epoch; at the left the product of one of them.
  function starts({ thing, plots: [plot], move, set, settings }, { A, epochs, rates, seeds, asked, errors, films, users, ...data }) {
    const products = unpack(data.products);
    const fill = makeGrid(thing, "U Vᵀ at this epoch, and below it the stars", { rows: films, columns: users, largest: 8, show: x => x.toFixed?.(1) ?? x });
    const stars = A.map(row => row.map(x => (x ? `${x}★` : "")));
    const last = epochs.at(-1);
    const open = A.map((row, i) => row.map((x, j) => i === 0 && j === users.length - 1));

    // The product of the r-th rate, the s-th seed and the k-th of the epochs that are known.
    function productAt(r, s, k) {
      const all = products[r * seeds.length + s];
      return A.map((row, i) => row.map((_, j) => all[(k * A.length + i) * row.length + j]));
    }

    const nearest = epoch => epochs.findIndex((x, k) => !(epochs[k + 1] - epoch < epoch - x));
    const go = epoch => set({ epoch: epochs[nearest(Math.min(Math.max(epoch, 0), last))] });

    function draw({ seed, lr, epoch }) {
      const [r, k] = [Math.max(rates.indexOf(lr), 0), nearest(epoch)];
      const ends = seeds.map((_, s) => asked[r][s][k]);
      seeds.forEach((name, s) => {
        move(`line${name}`, epochs.map((x, k) => [x, asked[r][s][k]]));
        move(`dot${name}`, [[epochs[k], ends[s]]]);
      });
      move("cursor", [0, 9].map(y => [epochs[k], y]));
      const own = seeds.indexOf(seed);
      fill(productAt(r, own, k), stars, open);
      const head = `Epoch ${epochs[k].toLocaleString("en")}: the three starts predict ${ends.map(x => x.toFixed(2)).join(", ")} stars.`;
      plot.say(epochs[k], head);
      return [head, `They are ${(Math.max(...ends) - Math.min(...ends)).toFixed(2)} apart, and the cell is empty: nobody knows which is right. On all the ratings the run of seed ${seed} is off by ${errors[r][own][k].toFixed(2)} stars (RMSE).`];
    }

    plot.grab({ label: "epoch", to: ([x]) => go(x), step: (across, up) => go(settings().epoch + (across + up) * epochs[1]) });
    return draw;
  }

  function shown4(x) {
    return x < 1e4 ? x.toFixed(4) : x.toExponential(0).replace("e+", "e");
  }

  function inWords(epochs) {
    return `${epochs.toLocaleString("en")} epoch${epochs === 1 ? "" : "s"}`;
  }

  // ------------------------------------------------------------------ a figure comes to life
  // The first <script> in the figure holds its data: `axes`, for makePlot; `state`, the settings that are dragged in
  // the figure and have no control; `choices`, the settings of a guess; and what its kind needs.
  function live(figure) {
    figure.dataset.live = "";
    const data = JSON.parse(figure.querySelector("script").textContent);
    const form = figure.querySelector("form");
    const status = figure.querySelector(".status");
    const button = form.querySelector(".play");
    const controls = [...form.elements].filter(control => control.name);
    const choices = [...form.querySelectorAll(".guess button")];
    const stage = document.createElement("div");
    stage.className = "stage";
    stage.innerHTML = `<div class="thing"></div><div class="plots">${"<div></div>".repeat(data.axes.length)}</div>`;
    figure.prepend(stage);
    const [thing, column] = stage.children;
    const plots = data.axes.map((axes, k) => makePlot(column.children[k], axes, data.axes.length > 1));
    const lines = new Map(plots.flatMap(plot => plot.lines.map(line => [line.name, line])));
    let state = { ...data.state };
    let guess = null; // the number of the choice whose run is drawn
    let verdict = "";
    let timer = 0;

    function settings() {
      return { ...state, ...Object.fromEntries(controls.map(control => [control.name, valueOf(control)])) };
    }

    function put(values) {
      for (const [name, x] of Object.entries(values)) {
        const control = form.elements[name];
        if (!control) state[name] = typeof data.state[name] === "number" ? Math.round(x) || 0 : x;
        else control.value = control.dataset.log ? Math.log10(x) : x;
      }
    }

    // What a kind does with a drag or a press; isLast: nothing is dragged on, so the address may follow.
    function set(values, isLast = false) {
      put(values);
      show();
      if (isLast) save();
    }

    function move(name, points) {
      lines.get(name).points = points;
    }

    // What takes longer than a frame goes on in slices, one a frame: `step` says whether another follows.
    function later(step) {
      cancelAnimationFrame(timer);
      timer = step && requestAnimationFrame(function next() {
        timer = step() ? requestAnimationFrame(next) : 0;
        show();
        if (!timer) finish();
      });
    }

    const kind = { figure, form, thing, plots, settings, move, set, later };
    const draw = kinds[figure.dataset.kind](kind, data);

    function show() {
      let said;
      try {
        said = draw(settings());
      } catch (error) {
        said = [`Stopped: ${error.message}.`, ""];
      }
      status.innerHTML = "<em></em> <strong></strong> <span></span>";
      [verdict, said[0], verdict ? "" : said[1]].forEach((text, k) => { status.children[k].textContent = text; });
      for (const plot of plots) plot.paint();
      for (const control of controls.filter(({ type }) => type === "range")) {
        const number = valueOf(control).toLocaleString("en", { maximumSignificantDigits: 6 });
        control.nextElementSibling.textContent = number;
        control.ariaValueText = number;
      }
    }

    function fit() {
      for (const plot of plots) {
        plot.resize();
        plot.paint();
      }
    }

    // The chosen button is pressed, the right one has a tick.
    function mark(chosen, right) {
      guess = chosen;
      choices.forEach((choice, k) => {
        choice.ariaPressed = String(k === chosen);
        choice.classList.toggle("right", k === right);
      });
    }

    function finish() {
      status.ariaLive = "polite";
      if (button) button.textContent = "Train";
      save();
      if (guess === null || verdict) return;
      const [right, reason] = draw.judge(settings());
      const answer = guess === right ? "Right: " : "Wrong: ";
      verdict = `${right === null ? "" : answer}${reason}.`;
      mark(guess, right);
      show();
    }

    function play() {
      status.ariaLive = "off";
      button.textContent = "Pause";
      later(draw.play());
    }

    function pause() {
      if (button && timer) later(null);
      if (button) button.textContent = "Train";
    }

    // The reader has changed something: a guess of before is over.
    function change() {
      verdict = "";
      mark(null);
      draw.compare?.(null);
      show();
    }

    function choose(choice) {
      verdict = "";
      draw.compare?.({ ...settings(), ...data.plain });
      put(data.choices[choice]);
      mark(choice);
      show();
      if (button) play();
      else if (!timer) finish();
    }

    form.onclick = ({ target }) => {
      if (target === button) return timer ? pause() : play();
      if (choices.includes(target)) choose(choices.indexOf(target));
    };
    form.oninput = () => {
      pause();
      for (const name of draw.release ?? []) state[name] = data.state[name];
      change();
    };
    form.onchange = stage.onpointerup = stage.onkeyup = () => save();
    form.onsubmit = () => false;
    form.onreset = () => setTimeout(() => { // when the controls are back at their first values
      pause();
      state = { ...data.state };
      change();
      save();
    });
    for (const element of form.elements) {
      element.dataset.lmSuppressShortcuts = "true"; // the keys are for the control, not JupyterLab's
    }
    const save = keepInAddress(figure, settings, put, change);
    form.style.display = "";
    new ResizeObserver(fit).observe(column);
    fit();
    show();
  }

  // A slider with data-log holds the power of ten.
  function valueOf(control) {
    return control.dataset.log ? Number((10 ** control.value).toPrecision(2)) : control.valueAsNumber;
  }

  // In the report the address keeps what differs from the first settings, by the figure's name, so that it can be
  // sent: #1.1?lr=0.05&seed=7. A link in the text sets the figure in the same way. Returns the function that writes it.
  function keepInAddress(figure, settings, put, change) {
    if (!figure.closest(".bd-article")) return () => {}; // JupyterLab's address, say, is its own
    const { name } = figure.dataset;
    const first = settings();

    function read() {
      const [, asked, query] = location.hash.match(/^#([\w.-]+)\?(.*)$/) ?? [];
      if (asked !== name) return false;
      put({ ...first, ...Object.fromEntries([...new URLSearchParams(query)].filter(([key]) => key in first)) });
      return true;
    }

    function follow() {
      if (!read()) return;
      change();
      figure.scrollIntoView({ block: "nearest" });
    }

    if (read()) addEventListener("load", follow);
    addEventListener("hashchange", follow);
    return () => {
      const differing = Object.entries(settings()).filter(([key, x]) => x !== first[key]);
      const isOwn = location.hash.startsWith(`#${name}?`);
      if (differing.length) history.replaceState(null, "", `#${name}?${new URLSearchParams(differing)}`);
      else if (isOwn) history.replaceState(null, "", location.pathname + location.search);
    };
  }

  // Each figure of the page once. One that JupyterLab has stripped, in a notebook that it does not trust, has
  // no data.
  window.mf.live = live;
  document.querySelectorAll("figure.live:not([data-live]):has(> script)").forEach(live);
})();
