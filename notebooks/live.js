// Live figures: the coursework's algorithm as in mf_core.py, bit for bit, and the figures that run it in the page.
"use strict";
window.mf ??= (() => {
  // ------------------------------------------------------------------------------------------------- the algorithm
  const f = Math.fround; // to float32, as mf_core computes: every product and every sum is rounded

  // What torch.rand draws from this seed: the Mersenne Twister MT19937; of its 32 bits, 24 are kept, divided by 2^24.
  function rand(seed, count) {
    const state = new Uint32Array(624), numbers = new Float32Array(count);
    state[0] = seed;
    for (let k = 1; k < 624; k++) state[k] = Math.imul(1812433253, state[k - 1] ^ (state[k - 1] >>> 30)) + k;
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
    const U = rows(0, m), V = rows(m, n), factors = [...U, ...V];
    let epoch = 0;
    lr = f(lr);
    while (epoch < num_epochs) {
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          if (M && !M[i][j]) continue;
          const u = U[i], v = V[j];
          let dot = 0;
          for (let k = 0; k < rank; k++) dot = f(dot + f(u[k] * v[k]));
          const e = f(A[i][j] - dot), step = f(lr * e);
          for (let k = 0; k < rank; k++) {
            u[k] += f(step * v[k]); // the sums are rounded when they are stored as float32
            v[k] += f(step * u[k]);
          }
        }
      }
      let sum = 0; // finite if and only if all the float32 in it are
      for (const row of factors) for (let k = 0; k < rank; k++) sum += row[k];
      if (!Number.isFinite(sum)) {
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
  const product = ({ U, V }) => U.map(u => V.map(v => u.reduce((sum, x, k) => sum + x * v[k], 0)));
  const count = epochs => `${epochs.toLocaleString("en")} epoch${epochs === 1 ? "" : "s"}`;
  const kinds = {
    // Captions, and points that Python computed, frame by frame.
    frames: ({ move, frames, captions }) => ({ frame }) => {
      for (const name in frames) move(name, frames[name][frame]);
      return captions[frame];
    },

    // The loss by epoch, and the rows of the factors in the plane.
    learning: ({ move, A, floors }) => ({ lr, rank, epochs, seed }) => {
      const curve = [], floor = floors[rank - 1];
      const callback = (epoch, U, V) => { curve.push([epoch, loss(A, U, V)]); };
      move("floor", [[1, floor], [1e9, floor]]);
      for (const name of "UV") move(name, []);
      try {
        const run = sgd({ A, rank, num_epochs: epochs, lr, seed, callback });
        for (const name of "UV") move(name, run[name].map(([x, y = 0]) => [x, y]));
        return `Loss ${run.loss.toFixed(4)} after ${count(epochs)}; the floor at rank ${rank} is ${floor.toFixed(4)}.`;
      } finally {
        move("curve", curve);
      }
    },

    // One run's product and error; and, at the press of a button, how the losses of a thousand seeds are spread.
    seeds: ({ move, fill, form, settings, A, floor, reported }) => {
      const [button, counted] = form.querySelectorAll(".run, .counted");
      let newest;
      button.onclick = () => {
        const losses = [], { epochs } = settings(), own = newest = {};
        const slice = () => {
          if (own !== newest) return;
          for (const until = performance.now() + 10; losses.length < 1000 && performance.now() < until;) {
            losses.push(sgd({ A, rank: 2, num_epochs: epochs, seed: losses.length }).loss);
          }
          const right = losses.filter(x => Math.round(x * 1e4) === Math.round(reported * 1e4)).length;
          const sorted = Float32Array.from(losses).sort(), share = (100 * right / losses.length).toFixed(1);
          move("share", Array.from(sorted, (x, k) => [x - floor, (k + 1) / losses.length]));
          counted.ariaLive = losses.length < 1000 ? "off" : "polite";
          counted.textContent = `${losses.length.toLocaleString("en")} seeds, ${count(epochs)} each: ` +
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

    // A photograph from the first columns of its factors, which are whole numbers of 16 bits times a scale.
    photo: ({ move, figure, shape: [m, n], S, U, V }) => {
      const numbers = text => new Int16Array(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
      const u = numbers(U), v = numbers(V), P = new Float32Array(m * n);
      const still = figure.querySelector(".photo"), canvas = document.createElement("canvas");
      Object.assign(canvas, { width: n, height: m }).style = still.getAttribute("style");
      still.replaceWith(canvas);
      const context = canvas.getContext("2d"), image = context.createImageData(n, m);
      return ({ rank }) => {
        P.fill(0);
        for (let k = 0; k < rank; k++) {
          for (let i = 0; i < m; i++) {
            const x = S[k].scale * u[k * m + i];
            for (let j = 0; j < n; j++) P[i * n + j] += x * v[k * n + j];
          }
        }
        for (let p = 0; p < 4 * m * n; p++) image.data[p] = p % 4 === 3 ? 255 : 255 * P[p >> 2];
        context.putImageData(image, 0, 0);
        const left = S.slice(rank).reduce((sum, { value }) => sum + value ** 2, 0);
        move("rank", [[rank, left]]);
        return `Rank ${rank}: loss ${left.toFixed(2)}, ${Math.round(100 * rank * (m + n + 1) / (m * n))}% of the numbers.`;
      };
    },

    // A matrix with hidden entries; where these are [1, 0] and [2, 1], also their way to the curve of exact completions.
    completion: ({ move, fill, drawing, A, M }) => settings => {
      const [given, seen] = [["a", A], ["m", M]].map(([letter, X]) =>
        X.map((row, i) => row.map((x, j) => settings[letter + i + j] ?? x)));
      const exercise = String(seen.flat()) === "1,1,1,0,1,1,1,0,1";
      drawing.style.opacity = exercise ? 1 : 0.2;
      if (!given.flat().every(Number.isFinite)) throw Error("one of the nine fields holds no number");
      if (!seen.flat().some(Boolean)) throw Error("all entries are hidden, and nothing is left to fit");
      const { seed, epochs, lr } = settings, [[a, b, c], [x, d, e], [f, y, g]] = given, way = [];
      const dot = (u, v) => u[0] * v[0] + u[1] * v[1];
      fill("completed", []);
      for (const name of ["way", "end"]) move(name, []);
      const callback = (epoch, U, V) => { way.push([dot(U[1], V[0]), dot(U[2], V[1])]); };
      const run = sgd({ A: given, M: seen, rank: 2, num_epochs: epochs, lr, seed, callback }), P = product(run);
      const hidden = loss(given, run.U, run.V, seen.map(row => row.map(s => !s)));
      const end = [P[1][0], P[2][1]], slope = x => c * x - a * e, step = 1 / 120;
      const exact = x => slope(x) * slope(x - step) > 0 ? (b * g * x - a * d * g - b * e * f + c * d * f) / slope(x) : NaN;
      fill("completed", P);
      move("curve", Array.from({ length: 481 }, (_, k) => [step * k - 0.4, exact(step * k - 0.4)]));
      move("way", way);
      move("end", [end]);
      move("true", [[x, y]]);
      return `Seed ${seed} after ${count(epochs)}: ` + (exercise ? `x = ${end[0].toFixed(4)}, y = ${end[1].toFixed(4)}; ` : "") +
        `squared error ${run.loss.toFixed(4)} on the observed entries, ${hidden.toFixed(4)} on the hidden ones.`;
    },
  };

  // Bring a figure that moving.py wrote to life; config holds where its layers lie, and what its kind needs.
  function live(figure, kind, config) {
    const [drawing, form, said] = [".drawing", "form", ".said"].map(part => figure.querySelector(part));
    const controls = [...form.elements].filter(c => c.name), value = c =>
      c.type === "checkbox" ? Number(c.checked) : c.dataset.log ? Number((10 ** c.value).toPrecision(2)) : c.valueAsNumber;
    const settings = () => Object.fromEntries(controls.map(c => [c.name, value(c)])), first = settings();
    const along = ([low, high, log], x) => ((log ? Math.log10(Math.max(x, 1e-30)) : x) - low) / (high - low);
    const move = (name, points) => { // as a path; points of a line nearer to the last one than can be seen are left out
      const { box: [x, y, w, h], across, up, dots } = config.layers[name];
      let path = "", pen = "M", [left, top] = [NaN, NaN];
      for (const point of points) {
        const [px, py] = [x + w * along(across, point[0]), y + h - h * along(up, point[1])];
        if (!dots && Math.hypot(px - left, py - top) < 0.3) continue;
        [left, top] = [px, py];
        const gap = Number.isNaN(px + py), [a, b] = [px, py].map(z => Math.min(Math.max(z, -1e4), 1e4).toFixed(1));
        if (!gap) path += `${pen}${a} ${b}${dots ? "h.01" : ""}`;
        pen = dots || gap ? "M" : "L";
      }
      drawing.querySelector(`[data-name="${name}"]`).setAttribute("d", path);
    };
    const fill = (name, X, limit = Infinity) => figure.querySelectorAll(`.${name}`).forEach((cell, p) => {
      const x = X.flat()[p], strength = Math.min(Math.abs(x) / limit, 1) / 2;
      cell.textContent = x?.toFixed(4) ?? "–";
      cell.style.background = x < 0 ? `rgb(213 94 0 / ${strength})` : `rgb(0 114 178 / ${strength})`;
    });
    const draw = kinds[kind]({ ...config, figure, drawing, form, settings, move, fill });
    const show = () => {
      try { said.textContent = draw(settings()); } catch (error) { said.textContent = `Stopped: ${error.message}.`; }
      drawing.ariaLabel = `${config.alt} ${said.textContent}`;
      for (const c of controls.filter(c => c.type === "range")) {
        c.nextElementSibling.textContent = value(c).toLocaleString("en", { maximumSignificantDigits: 6 });
        c.ariaValueText = kind === "frames" ? said.textContent : c.nextElementSibling.textContent;
      }
    };

    // Play moves one slider to its end, slowly at first; by a tenth at a press for those who prefer no motion.
    const play = form.querySelector(".play"), slider = controls.find(c => c.name === config.play);
    const [low, high] = [Number(slider.min), Number(slider.max)], { ease = 3, seconds = 4 } = config;
    let timer = null;
    const stop = () => { timer = cancelAnimationFrame(timer); [play.textContent, said.ariaLive] = ["Play", "polite"]; };
    play.onclick = () => {
      if (timer) return stop();
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      if ([slider.max, slider.defaultValue].includes(slider.value)) slider.value = low;
      else if (still) slider.value = Math.ceil(slider.valueAsNumber + (high - low) / 10);
      if (still) return show(), save();
      [play.textContent, said.ariaLive] = ["Pause", "off"];
      const began = performance.now() - 1000 * seconds * ((slider.value - low) / (high - low)) ** (1 / ease);
      const next = () => {
        slider.value = low + (high - low) * Math.min((performance.now() - began) / 1000 / seconds, 1) ** ease;
        show();
        timer = requestAnimationFrame(next);
        if (slider.value === slider.max) stop(), save();
      };
      next();
    };

    // In the report the address keeps what differs from the first state; of a page's second figure as 2.seed=7.
    const place = document.querySelectorAll(".live").length, key = c => place > 1 ? `${place}.${c.name}` : c.name;
    const address = () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    const read = () => controls.filter(c => address().has(key(c))).map(c => {
      const text = address().get(key(c));
      if (c.type === "checkbox") c.checked = text === "1"; else c.value = c.dataset.log ? Math.log10(text) : text;
    }).length;
    const inReport = !figure.closest(".jp-OutputArea"), save = () => {
      const now = address();
      for (const c of controls) value(c) === first[c.name] ? now.delete(key(c)) : now.set(key(c), value(c));
      if (inReport) history.replaceState(null, "", String(now) ? `#${now}` : location.pathname + location.search);
    };
    if (inReport) addEventListener("hashchange", () => { if (read()) show(); });
    if (inReport && read()) addEventListener("load", () => figure.scrollIntoView());
    form.oninput = () => { stop(); show(); };
    [form.onchange, form.onsubmit] = [save, () => false];
    form.onreset = () => setTimeout(() => { stop(); show(); save(); });
    for (const element of form.elements) element.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys
    form.hidden = false;
    show();
  }

  return { rand, sgd, loss, live };
})();
