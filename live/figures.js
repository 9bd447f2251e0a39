// The live figures: what mf_figures.py wrote as a drawing, with controls and data, moves here.
"use strict";

(() => {
  const { sgd, runOnce, runSlice, loss, dot, bytesOf, training } = window.mf;

  // ------------------------------------------------------------------ the kinds of figures
  // A kind takes what the figure offers (see `live`) and the figure's data. It gives back a function that
  // draws for the controls' settings and returns the status: one sentence on what is drawn. The function
  // may have a `play` for makePlayer, in place of the slider's; a `run`, which a guess plays instead; and
  // `judge`, which gives the number of the right choice after what a guess has played, and a reason.
  const kinds = { learning, seeds, beat, photo, completion, training };

  // The loss by epoch, and the rows of the factors in the plane.
  function learning({ move, form }, { A, floors, choices }) {
    const last = Number(form.elements.epochs.max);

    function draw({ lr, rank, epochs, seed }) {
      const floor = floors[rank - 1];
      const curve = [];
      const record = (epoch, U, V) => curve.push([epoch, loss(A, U, V)]);
      const inPlane = ([x, y = 0]) => [x, y]; // at rank 1 on the axis
      move("floor", [[1, floor], [last, floor]]);
      move("U", []);
      move("V", []);
      try {
        const run = sgd({ A, rank, num_epochs: epochs, lr, seed, callback: record });
        move("U", run.U.map(inPlane));
        move("V", run.V.map(inPlane));
        return `Loss ${run.loss.toFixed(4)} after ${inWords(epochs)}; ` +
          `the floor at rank ${rank} is ${floor.toFixed(4)}.`;
      } finally {
        move("curve", curve); // of a run that diverged too
      }
    }

    function judge({ rank, epochs, seed }) {
      const losses = choices.map(({ lr }) => runOnce({ A, rank, num_epochs: epochs, lr, seed })?.loss ?? Infinity);
      const ends = choices.map(({ lr }, k) => `${losses[k].toFixed(4)} with lr = ${lr}`);
      return [losses.indexOf(Math.min(...losses)), `the loss ends at ${ends.join(" and at ")}`];
    }

    return Object.assign(draw, { judge });
  }

  // One run's product and error; at the press of a button, how the losses of a thousand seeds are spread.
  function seeds({ move, fill, form, settings }, { A, floor: digits, reported, bounds }) {
    const all = 1000;
    const floor = Number(digits);
    const counted = form.querySelector(".counted");
    let hits = 0;

    function run() {
      const runs = [];
      const { epochs } = settings();
      return () => {
        const isLeft = runSlice(runs, all, { A, rank: 2, num_epochs: epochs });
        showSpread(runs.map(run => run?.loss ?? Infinity), epochs);
        return isLeft;
      };
    }

    function showSpread(losses, epochs) {
      const ascending = Float32Array.from(losses).sort();
      move("share", Array.from(ascending, (x, k) => [x - floor, (k + 1) / losses.length]));
      hits = losses.filter(x => x.toFixed(4) === reported.toFixed(4)).length;
      const percent = (100 * hits / losses.length).toFixed(1);
      counted.ariaLive = losses.length < all ? "off" : "polite"; // only the last count is read out
      counted.textContent = `${losses.length.toLocaleString("en")} seeds, ${inWords(epochs)} each: ` +
        `${hits} print ${reported}, which is ${percent}%.`;
    }

    function judge() {
      const right = bounds.filter(percent => 100 * hits / all >= percent).length;
      return [right, `${hits} of 1,000 seeds print ${reported}`];
    }

    function draw({ seed, epochs }) {
      const run = sgd({ A, rank: 2, num_epochs: epochs, seed });
      showProduct(fill, A, run);
      move("own", [[run.loss - floor, 0], [run.loss - floor, 1]]);
      return `Seed ${seed} after ${inWords(epochs)}: loss ${run.loss.toFixed(4)}; ` +
        `the floor is ${floor.toFixed(4)}.`;
    }

    return Object.assign(draw, { run, judge });
  }

  // A matrix B of rank 2 that sends a direction w to 0. Across w it is A, but for a factor in each of two
  // directions. The valley is the loss at every turn of w.
  function beat({ move, fill, form }, { A, floor }) {
    const turns = Array.from({ length: 181 }, (_, k) => k - 90); // degrees
    let best;

    function matrixAt({ turn, tilt, first, second }) {
      const [alpha, beta] = [turn, tilt].map(degrees => degrees * Math.PI / 180);
      const [c, s, cosine, sine] = [Math.cos(alpha), Math.sin(alpha), Math.cos(beta), Math.sin(beta)];
      const w = [c * cosine, s * cosine, sine];
      const across = [[-s, c, 0], [-c * sine, -s * sine, cosine]];
      const U = A.map(row => [first * dot(row, across[0]), second * dot(row, across[1])]);
      const V = w.map((_, j) => across.map(direction => direction[j]));
      return { U, V, w, loss: loss(A, U, V) };
    }

    form.addEventListener("reset", () => { best = undefined; });
    return settings => {
      const B = matrixAt(settings);
      best = Math.min(best ?? Infinity, B.loss);
      showProduct(fill, A, B);
      move("valley", turns.map(turn => [turn, matrixAt({ ...settings, turn }).loss]));
      move("now", [[settings.turn, B.loss]]);
      move("best", [[-90, best], [90, best]]);
      const length = Math.hypot(...A.map(row => dot(row, B.w)));
      return `Loss ${B.loss.toFixed(4)}, ${(B.loss - floor).toFixed(4)} above the floor ${floor.toFixed(4)}; ` +
        `best so far ${best.toFixed(4)}. A makes w ${length.toFixed(4)} long.`;
    };
  }

  // A photograph from the first columns of its factors, which come as whole multiples of the unit.
  function photo({ figure, move }, { shape: [m, n], S, unit, U, V }) {
    const [u, v] = [U, V].map(({ int16 }) => new Int16Array(bytesOf(int16).buffer));
    const still = figure.querySelector(".photo");
    const canvas = document.createElement("canvas");
    canvas.width = n;
    canvas.height = m;
    canvas.style = still.getAttribute("style");
    still.replaceWith(canvas);
    const context = canvas.getContext("2d");
    const image = context.createImageData(n, m); // four numbers a pixel: red, green, blue, opacity
    const brightness = new Float32Array(m * n);
    return ({ rank }) => {
      brightness.fill(0);
      for (let k = 0; k < rank; k++) {
        for (let i = 0; i < m; i++) {
          const x = unit * unit * u[k * m + i];
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
      return `Rank ${rank}: loss ${missed.toFixed(2)}, ${share}% of the numbers.`;
    };
  }

  // A matrix with hidden entries; where these are the exercise's, x = [1, 0] and y = [2, 1], also the way
  // of x and y to the curve of exact completions. The choices of a guess are marks on the curve.
  function completion({ move, fill, drawing }, { A, M, marks }) {
    let end;

    function draw(settings) {
      const given = A.map((row, i) => row.map((x, j) => settings[`a${i}${j}`] ?? x));
      const observed = M.map((row, i) => row.map((x, j) => settings[`m${i}${j}`] ?? x));
      const isExercise = String(observed) === String(M);
      drawing.style.opacity = isExercise ? 1 : 0.2;
      fill("completed", []);
      move("way", []);
      move("end", []);
      if (!given.flat().every(Number.isFinite)) throw new Error("one of the nine fields holds no number");
      if (!observed.flat().some(Boolean)) throw new Error("all entries are hidden, and nothing is left to fit");

      const { seed, epochs, lr } = settings;
      const way = [];
      const record = (epoch, U, V) => way.push([dot(U[1], V[0]), dot(U[2], V[1])]);
      const run = sgd({ A: given, M: observed, rank: 2, num_epochs: epochs, lr, seed, callback: record });
      const P = product(run);
      const [x, y] = end = [P[1][0], P[2][1]];
      fill("completed", P);
      move("curve", exactCompletions(given));
      move("way", way);
      move("end", [end]);
      move("true", [[given[1][0], given[2][1]]]);

      const hidden = observed.map(row => row.map(seen => !seen));
      const hiddenLoss = loss(given, run.U, run.V, hidden);
      const pair = isExercise ? `x = ${x.toFixed(4)}, y = ${y.toFixed(4)}; ` : "";
      return `Seed ${seed} after ${inWords(epochs)}: ${pair}squared error ${run.loss.toFixed(4)} ` +
        `on the observed entries, ${hiddenLoss.toFixed(4)} on the hidden ones.`;
    }

    function judge() {
      const distances = marks.map(([x, y]) => Math.hypot(x - end[0], y - end[1]));
      const nearest = distances.indexOf(Math.min(...distances));
      return [nearest, `the run ended nearest to ${"ABC"[nearest]}`];
    }

    return Object.assign(draw, { judge });
  }

  // The points (x, y) at which [[a, b, c], [x, d, e], [f, y, g]] has the determinant 0, for x from -0.4 to
  // 3.6; NaN between the two branches, where y runs to infinity.
  function exactCompletions([[a, b, c], [, d, e], [f, , g]]) {
    const steps = 480;
    const step = 4 / steps;
    const denominator = x => c * x - a * e;
    return Array.from({ length: steps + 1 }, (_, k) => {
      const x = step * k - 0.4;
      const sameBranch = denominator(x) * denominator(x - step) > 0;
      const y = (b * g * x - a * d * g - b * e * f + c * d * f) / denominator(x);
      return [x, sameBranch ? y : NaN];
    });
  }

  function product({ U, V }) {
    return U.map(u => V.map(v => dot(u, v)));
  }

  function showProduct(fill, A, factors) {
    const P = product(factors);
    fill("product", P, 4);
    fill("error", A.map((row, i) => row.map((x, j) => x - P[i][j])), 1);
  }

  function inWords(epochs) {
    return `${epochs.toLocaleString("en")} epoch${epochs === 1 ? "" : "s"}`;
  }

  // ------------------------------------------------------------------ a figure comes to life
  // The first <script> in the figure holds its data: `alt`, which describes it; `layers`, where the lines
  // lie that move; `play`, the slider that Play moves, with `seconds` and `ease`; `choices`, the settings
  // that a guess plays, and `start`, those at which the figure waits for one; and what its kind needs.
  function live(figure) {
    figure.dataset.live = "";
    const data = JSON.parse(figure.querySelector("script").textContent);
    const drawing = figure.querySelector(".drawing");
    drawing.querySelectorAll(".still").forEach(inline);
    const form = figure.querySelector("form");
    const status = figure.querySelector(".status");
    const controls = [...form.elements].filter(control => control.name);
    const sliders = controls.filter(control => control.type === "range");
    const settings = () => Object.fromEntries(controls.map(control => [control.name, valueOf(control)]));
    const choices = [...form.querySelectorAll(".guess button")];
    const finished = settings();
    const paper = matchMedia("print");
    let guess = null; // the number of the choice that is played
    let verdict = ""; // on the last guess

    // Moves a line of the drawing to these points.
    function move(line, points) {
      const path = drawing.querySelector(`[data-name="${line}"]`);
      path.setAttribute("d", pathThrough(points, data.layers[line]));
    }

    // Writes a matrix into the cells of this name; blue above 0 and orange below, fully so from the limit on.
    function fill(name, X, limit = Infinity) {
      const numbers = X.flat();
      figure.querySelectorAll(`.${name}`).forEach((cell, k) => {
        const x = numbers[k];
        const opacity = Math.min(Math.abs(x) / limit, 1) / 2;
        cell.textContent = x?.toFixed(4) ?? "–";
        cell.style.background = x < 0 ? `rgb(213 94 0 / ${opacity})` : `rgb(0 114 178 / ${opacity})`;
      });
    }

    const draw = kinds[figure.dataset.kind]({ figure, drawing, form, settings, move, fill }, data);

    // The figure waits for a guess ("open"), plays it ("playing") or shows all: live.css hides by it.
    function turnTo(phase, values = {}, sentence = "") {
      figure.dataset.guess = data.start ? phase : "";
      guess = null;
      verdict = sentence;
      for (const [name, x] of Object.entries(values)) {
        const control = form.elements[name];
        control.value = control.dataset.log ? Math.log10(x) : x;
      }
      show();
    }

    function judge() {
      const [right, reason] = draw.judge(settings());
      const rightly = guess === right ? "right" : "wrong";
      turnTo("", {}, `You guessed “${choices[guess].textContent}”, and that is ${rightly}: ${reason}. `);
    }

    // On paper the figure is finished, guessed or not.
    function describe() {
      const isOpen = figure.dataset.guess === "open";
      const text = draw(isOpen && paper.matches ? finished : settings());
      return isOpen && !paper.matches ? "Guess first." : verdict + text;
    }

    function show() {
      try {
        status.textContent = describe();
      } catch (error) {
        status.textContent = `Stopped: ${error.message}.`;
      }
      drawing.ariaLabel = `${data.alt} ${status.textContent}`;
      for (const slider of sliders) {
        const number = valueOf(slider).toLocaleString("en", { maximumSignificantDigits: 6 });
        slider.nextElementSibling.textContent = number;
        slider.ariaValueText = number;
      }
    }

    // A link to another seed asks of that one; any other link shows what it leads to.
    const allButSeed = () => String(Object.values({ ...settings(), seed: 0 }));
    turnTo("open", data.start);
    const asked = allButSeed();
    const save = keepInAddress(figure, controls, () => turnTo(""));
    if (allButSeed() !== asked) turnTo("");
    const play = draw.play ?? alongSlider(form.elements[data.play], data);
    const player = makePlayer(form.querySelector(".play"), play, {
      status,
      show,
      end() {
        save();
        if (guess !== null) judge();
      },
    });
    form.onclick = ({ target }) => {
      const choice = choices.indexOf(target);
      if (choice >= 0) {
        turnTo("playing", { ...data.start, ...data.choices[choice] });
        guess = choice;
        player.start(draw.run ?? play, true);
      } else if (target.matches(".run, .play") && figure.dataset.guess === "open") {
        turnTo("");
      }
      if (target.matches(".run")) player.start(draw.run);
    };
    form.oninput = ({ target }) => {
      player.stop();
      // Where a run is guessed, the seed says which; all else shows what there is.
      const isAgain = target.name === "seed" && data.start?.epochs === 0 && (figure.dataset.guess || verdict);
      if (isAgain) turnTo("open", data.start);
      else turnTo("");
    };
    form.onchange = save;
    form.onsubmit = () => false;
    form.onreset = () => setTimeout(() => { // when the controls are back at their first values
      player.stop();
      turnTo("open", data.start);
      save();
    });
    for (const element of form.elements) {
      element.dataset.lmSuppressShortcuts = "true"; // the keys are for the control, not JupyterLab's
    }
    paper.addEventListener("change", show);
    show();
    form.style.display = "";
    figure.querySelector("figcaption").style.display = "";
  }

  // Puts the SVG, whose lines will move, in the place of the image of it.
  function inline(image) {
    const template = document.createElement("template");
    template.innerHTML = new TextDecoder().decode(bytesOf(image.src.split(",")[1]));
    const svg = template.content.firstChild;
    svg.removeAttribute("width");
    svg.removeAttribute("height");
    svg.style = image.getAttribute("style");
    image.replaceWith(svg);
  }

  // A slider with data-log holds the power of ten.
  function valueOf(control) {
    if (control.type === "checkbox") return Number(control.checked);
    if (control.dataset.log) return Number((10 ** control.value).toPrecision(2));
    return control.valueAsNumber;
  }

  // An SVG path through points in the units of the layer's axes, as _layer of mf_figures.py draws it: of a line,
  // points are left out that are nearer to the last one than can be seen; a dot is a very short line.
  function pathThrough(points, { box: [left, top, width, height], across, up, dots }) {
    const clip = x => Math.min(Math.max(x, -1e4), 1e4).toFixed(1);
    let path = "";
    let pen = "M";
    let last = [NaN, NaN];
    for (const point of points) {
      const x = left + width * along(across, point[0]);
      const y = top + height - height * along(up, point[1]);
      if (!dots && Math.hypot(x - last[0], y - last[1]) < 0.3) continue;
      last = [x, y];
      if (Number.isNaN(x + y)) {
        pen = "M"; // a gap
        continue;
      }
      path += `${pen}${clip(x)} ${clip(y)}`;
      if (dots) path += "h.01";
      else pen = "L";
    }
    return path;
  }

  // How far along an axis a number lies, from 0 to 1; the ends of a logarithmic one are powers of ten.
  function along([low, high, isLog], x) {
    const place = isLog ? Math.log10(Math.max(x, 1e-30)) : x;
    return (place - low) / (high - low);
  }

  // At a press of Play, `play` gives back a function that takes a step and says whether another follows.
  // There is one in each animation frame, until the button is pressed again.
  function makePlayer(button, play, { status, show, end }) {
    const label = button.textContent;
    let timer = null;

    function stop() {
      cancelAnimationFrame(timer);
      timer = null;
      button.textContent = label;
      status.ariaLive = "polite";
    }

    function start(begin, toEnd) {
      stop();
      const step = begin(toEnd);
      button.textContent = "Pause";
      status.ariaLive = "off";
      function next() {
        timer = requestAnimationFrame(next);
        const isLast = !step();
        if (isLast) stop();
        show();
        if (isLast) end();
      }
      next();
    }

    button.onclick = () => timer ? stop() : start(play);
    return { start, stop };
  }

  // Play moves the slider to its end, slowly at first. For who prefers no motion it does so in one step
  // after a guess, else by a tenth at a press.
  function alongSlider(slider, { seconds = 4, ease = 3 }) {
    const low = Number(slider.min);
    const range = Number(slider.max) - low;
    return toEnd => {
      const fromStart = [slider.max, slider.defaultValue].includes(slider.value);
      if (fromStart) slider.value = low;
      if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
        return () => {
          if (toEnd) slider.value = slider.max;
          else if (!fromStart) slider.value = Math.ceil(slider.valueAsNumber + range / 10);
          return false;
        };
      }
      const done = (slider.value - low) / range;
      const began = performance.now() - 1000 * seconds * done ** (1 / ease);
      return () => {
        const elapsed = Math.min((performance.now() - began) / 1000 / seconds, 1);
        slider.value = low + range * elapsed ** ease;
        return slider.value !== slider.max;
      };
    };
  }

  // In the report the address keeps the settings that differ from the first ones, so that a link leads to
  // them: #seed=7, and of a page's second figure #2.seed=7. Returns the function that writes them.
  function keepInAddress(figure, controls, show) {
    if (!figure.closest(".bd-article")) return () => {}; // JupyterLab's address, say, is its own
    const place = [...document.querySelectorAll("figure.live")].indexOf(figure) + 1;
    const keyOf = control => place > 1 ? `${place}.${control.name}` : control.name;
    const fromAddress = () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    const first = new Map(controls.map(control => [control, valueOf(control)]));

    // Whether the address said anything about this figure.
    function read() {
      const address = fromAddress();
      const named = controls.filter(control => address.has(keyOf(control)));
      for (const control of named) {
        const text = address.get(keyOf(control));
        if (control.type === "checkbox") control.checked = text === "1";
        else control.value = control.dataset.log ? Math.log10(text) : text;
      }
      return named.length > 0;
    }

    function write() {
      const address = fromAddress();
      for (const control of controls) {
        if (valueOf(control) === first.get(control)) address.delete(keyOf(control));
        else address.set(keyOf(control), valueOf(control));
      }
      const hash = String(address);
      history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
    }

    if (read()) addEventListener("load", () => figure.scrollIntoView());
    addEventListener("hashchange", () => {
      if (read()) show();
    });
    return write;
  }

  // Each figure of the page once. One that JupyterLab has stripped, in a notebook that it does not trust, has
  // no data.
  window.mf.live = live;
  document.querySelectorAll("figure.live:not([data-live]):has(> script)").forEach(live);
})();
