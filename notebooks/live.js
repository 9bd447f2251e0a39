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

  // ------------------------------------------------------------------------------------------------ the live figures
  // Each kind takes what `live` hands it, and returns a function that draws for these settings and says what it drew.
  const kinds = {
    // Captions and points that Python computed, frame by frame.
    frames: ({ move, frames, captions }) => ({ frame }) => {
      for (const name in frames) move(name, frames[name][frame]);
      return captions[frame];
    },

    // The loss by epoch, and the rows of the factors in the plane.
    learning: ({ move, A, floors }) => ({ lr, rank, epochs, seed }) => {
      const curve = [], floor = floors[rank - 1];
      const draw = (U, V) => {
        move("curve", curve);
        move("floor", [[1, floor], [1e9, floor]]);
        move("U", U.map(([x, y = 0]) => [x, y]));
        move("V", V.map(([x, y = 0]) => [x, y]));
      };
      const callback = (epoch, U, V) => { curve.push([epoch, loss(A, U, V)]); };
      try {
        const run = sgd({ A, rank, num_epochs: epochs, lr, seed, callback });
        draw(run.U, run.V);
        return `Loss ${run.loss.toFixed(4)} after ${count(epochs)}; the floor at rank ${rank} is ${floor.toFixed(4)}.`;
      } catch (error) {
        draw([], []);
        return `Stopped: ${error.message}.`;
      }
    },

    // One run's product and error; and, at the press of a button, how the losses of a thousand seeds are spread.
    seeds: ({ move, fill, form, settings, A, floor, reported }) => {
      const [button, counted] = form.querySelectorAll(".run, .counted");
      let newest;
      button.onclick = () => {
        const losses = [], { epochs } = settings(), mine = newest = {};
        const slice = () => {
          if (mine !== newest) return;
          for (const until = performance.now() + 8; losses.length < 1000 && performance.now() < until;) {
            losses.push(sgd({ A, rank: 2, num_epochs: epochs, seed: losses.length }).loss);
          }
          const right = losses.filter(x => Math.round(x * 1e4) === Math.round(reported * 1e4)).length;
          const share = (100 * right / losses.length).toFixed(1);
          move("share", [...losses].sort((x, y) => x - y).map((x, k) => [x - floor, (k + 1) / losses.length]));
          counted.ariaLive = losses.length < 1000 ? "off" : "polite";
          counted.textContent = `${losses.length.toLocaleString("en")} seeds run here, ${count(epochs)} each: ` +
            `${right} print ${reported}, which is ${share}%.`;
          if (losses.length < 1000) requestAnimationFrame(slice);
        };
        slice();
      };
      return ({ seed, epochs }) => {
        const run = sgd({ A, rank: 2, num_epochs: epochs, seed }), P = product(run);
        fill("product", P, 4);
        fill("error", A.map((row, i) => row.map((x, j) => x - P[i][j])), 1);
        move("own", [[run.loss - floor, 0], [run.loss - floor, 1]]);
        return `Seed ${seed} after ${count(epochs)}: loss ${run.loss.toFixed(4)}; the floor is ${floor.toFixed(4)}.`;
      };
    },

    // A photograph from the first columns of its factors, whole numbers of 16 bits with a scale for each column.
    photo: ({ move, figure, shape: [m, n], S, U, V }) => {
      const numbers = text => new Int16Array(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
      const [u, v] = [numbers(U), numbers(V)];
      const picture = figure.querySelector(".photo"), canvas = document.createElement("canvas");
      Object.assign(canvas, { width: n, height: m }).style = picture.getAttribute("style");
      picture.replaceWith(canvas);
      const context = canvas.getContext("2d"), image = context.createImageData(n, m), P = new Float32Array(m * n);
      return ({ rank }) => {
        P.fill(0);
        for (let k = 0; k < rank; k++) {
          for (let i = 0; i < m; i++) {
            const x = S[k].scale * u[k * m + i];
            for (let j = 0; j < n; j++) P[i * n + j] += x * v[k * n + j];
          }
        }
        P.forEach((x, p) => image.data.set([255 * x, 255 * x, 255 * x, 255], 4 * p));
        context.putImageData(image, 0, 0);
        const left = S.slice(rank).reduce((sum, { value }) => sum + value ** 2, 0);
        const share = Math.round(100 * rank * (m + n + 1) / (m * n));
        move("rank", [[rank, left]]);
        return `Rank ${rank}: loss ${left.toFixed(2)}, ${share}% of the numbers.`;
      };
    },

    // A matrix with hidden entries, and the pair [1, 0], [2, 1] on its way to the curve of exact completions.
    completion: ({ move, fill, figure, A, M }) => settings => {
      const given = A.map((row, i) => row.map((x, j) => settings[`a${i}${j}`] ?? x));
      const seen = M.map((row, i) => row.map((x, j) => settings[`m${i}${j}`] ?? x));
      const { seed, epochs, lr = 0.01 } = settings, way = [], pairs = [[1, 0], [2, 1]];
      const [[a, b, c], [x, d, e], [f, y, g]] = given, entries = seen.flat();
      const exercise = entries.every((s, p) => Boolean(s) !== [3, 7].includes(p));
      const callback = (_, U, V) => {
        if (exercise) way.push(pairs.map(([i, j]) => U[i].reduce((sum, u, k) => sum + u * V[j][k], 0)));
      };
      figure.querySelector(".drawing").style.opacity = exercise ? 1 : 0.2;
      if (!given.flat().every(Number.isFinite)) return "One of the nine fields holds no number.";
      if (!entries.some(Boolean)) return "All entries are hidden: nothing is left to fit.";
      try {
        const run = sgd({ A: given, M: seen, rank: 2, num_epochs: epochs, lr, seed, callback }), P = product(run);
        const hidden = loss(given, run.U, run.V, seen.map(row => row.map(s => !s)));
        const curve = Array.from({ length: 481 }, (_, k) => -0.4 + k / 120).map(x =>
          [x, (c * x - a * e) * (c * x - c / 120 - a * e) <= 0 ? NaN : (b * g * x - a * d * g - b * e * f + c * d * f) / (c * x - a * e)]);
        fill("completed", P, 4);
        move("curve", curve);
        move("way", way);
        move("end", [[P[1][0], P[2][1]]]);
        move("true", [[x, y]]);
        return `Seed ${seed} after ${count(epochs)}: ` +
          (exercise ? `x = ${P[1][0].toFixed(4)}, y = ${P[2][1].toFixed(4)}; ` : "") +
          `squared error ${run.loss.toFixed(4)} on the observed entries, ${hidden.toFixed(4)} on the hidden ones.`;
      } catch (error) {
        return `Stopped: ${error.message}.`;
      }
    },
  };

  const product = ({ U, V }) => U.map(u => V.map(v => u.reduce((sum, x, k) => sum + x * v[k], 0)));
  const count = epochs => `${epochs.toLocaleString("en")} epoch${epochs === 1 ? "" : "s"}`;

  // Bring a figure that moving.py wrote to life; config holds where its layers lie, and what its kind needs.
  function live(figure, kind, config) {
    const [drawing, form, said] = [".drawing", "form", ".said"].map(part => figure.querySelector(part));
    const controls = [...form.elements].filter(c => c.name), play = form.querySelector(".play");
    const number = figure === document.querySelector(".live") ? "" : [...document.querySelectorAll(".live")].indexOf(figure) + 1 + ".";
    const value = c => c.type === "checkbox" ? c.checked : c.dataset.log ? Number((10 ** c.value).toPrecision(2)) : c.valueAsNumber;
    const settings = () => Object.fromEntries(controls.map(c => [c.name, value(c)]));
    const along = ([low, high, log], x) => ((log ? Math.log10(Math.max(x, 1e-30)) : x) - low) / (high - low);
    const move = (name, points) => {
      const { box: [x, y, w, h], across, up, dots } = config.layers[name];
      let path = "", pen = "M";
      for (const point of points) {
        const at = [x + w * along(across, point[0]), y + h - h * along(up, point[1])];
        const [left, top] = at.map(z => Math.min(Math.max(z, -1e4), 1e4).toFixed(1));
        path += at.some(Number.isNaN) ? "" : `${pen}${left} ${top}${dots ? "h.01" : ""}`;
        pen = dots || at.some(Number.isNaN) ? "M" : "L";
      }
      drawing.querySelector(`[data-name="${name}"]`).setAttribute("d", path);
    };
    const fill = (name, X, limit) => figure.querySelectorAll(`.${name}`).forEach((cell, p) => {
      const x = X.flat()[p], strength = Math.min(Math.abs(x) / limit, 1) / 2;
      cell.textContent = x.toFixed(2);
      cell.style.background = x < 0 ? `rgb(213 94 0 / ${strength})` : `rgb(0 114 178 / ${strength})`;
    });
    const draw = kinds[kind]({ ...config, figure, form, settings, move, fill });
    const show = () => {
      said.textContent = draw(settings());
      drawing.ariaLabel = `${config.alt} ${said.textContent}`;
      for (const c of controls.filter(c => c.type === "range")) {
        c.nextElementSibling.textContent = value(c).toLocaleString("en", { maximumSignificantDigits: 6 });
        c.ariaValueText = kind === "frames" ? said.textContent : c.nextElementSibling.textContent;
      }
    };

    // Play moves one slider to its end, at first slowly; or by a tenth at a time for those who prefer no motion.
    const slider = controls.find(c => c.name === config.play), still = matchMedia("(prefers-reduced-motion: reduce)");
    let timer = null;
    const stop = () => {
      cancelAnimationFrame(timer);
      timer = null;
      play.textContent = "Play";
      said.ariaLive = "polite";
    };
    play.onclick = () => {
      if (timer) return stop();
      const [low, high] = [Number(slider.min), Number(slider.max)], { ease = 3, seconds = 4 } = config;
      if ([slider.max, slider.defaultValue].includes(slider.value)) slider.value = low;
      else if (still.matches) slider.value = Math.ceil(slider.valueAsNumber + (high - low) / 10);
      show();
      if (still.matches) return save();
      play.textContent = "Pause";
      said.ariaLive = "off";
      const done = ((slider.value - low) / (high - low)) ** (1 / ease);
      let began;
      const next = now => {
        began ??= now - 1000 * seconds * done;
        slider.value = low + (high - low) * Math.min((now - began) / 1000 / seconds, 1) ** ease;
        show();
        timer = requestAnimationFrame(next);
        if (slider.value === slider.max) { stop(); save(); }
      };
      timer = requestAnimationFrame(next);
    };

    // The address keeps what differs from the first state, so that a link leads to it; a figure further down says which.
    const inReport = !figure.closest(".jp-OutputArea");
    const address = () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    const read = () => {
      let given = false;
      for (const c of controls) {
        const text = address().get(number + c.name);
        if (text === null) continue;
        given = true;
        if (c.type === "checkbox") c.checked = text === "1"; else c.value = c.dataset.log ? Math.log10(text) : text;
      }
      return given;
    };
    const save = () => {
      const now = address();
      for (const c of controls) {
        const first = c.type === "checkbox" ? c.checked === c.defaultChecked : c.value === c.defaultValue;
        if (first) now.delete(number + c.name); else now.set(number + c.name, Number(value(c)));
      }
      if (inReport) history.replaceState(null, "", String(now) ? `#${now}` : location.pathname + location.search);
    };
    form.oninput = () => { stop(); show(); };
    form.onchange = save;
    form.onsubmit = () => false;
    form.onreset = () => setTimeout(() => { stop(); show(); save(); });
    if (inReport) addEventListener("hashchange", () => { if (read()) show(); });
    form.hidden = false;
    if (inReport && read()) figure.scrollIntoView();
    show();
  }

  return { rand, sgd, loss, live };
})();
