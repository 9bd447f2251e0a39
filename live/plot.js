// Plots and grids of the live figures, in the colours of the theme around them.
"use strict";

(() => {
  const MARGIN = { left: 46, right: 18, top: 22 }; // the label of the upward axis stands above the frame

  // A plot in `host`, of what mf_figures.py tells of Matplotlib's axes. `across` and `up` are scales, each with its
  // label, its ends and whether it is logarithmic; of each line it has the points, color and so on. A kind of figure
  // may change all of these; `paint` draws.
  function makePlot(host, axes, isSmall) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const legend = document.createElement("div");
    legend.className = "legend";
    host.append(legend, svg);
    const plot = { ...axes, svg, notes: [], backdrop: "", resize, paint, grab, pixelOf };
    let size = [480, 300];

    function lengths() {
      return [size[0] - MARGIN.left - MARGIN.right, size[1] - MARGIN.top - (plot.across.label ? 40 : 8)];
    }

    function pixelOf([x, y]) {
      const [wide, high] = lengths();
      return [MARGIN.left + wide * share(plot.across, x), MARGIN.top + high - high * share(plot.up, y)];
    }

    // The point below the pointer, in the units of the axes.
    function pointAt({ clientX, clientY }) {
      const { left, top } = svg.getBoundingClientRect();
      const [wide, high] = lengths();
      const up = 1 - (clientY - top - MARGIN.top) / high;
      return [place(plot.across, (clientX - left - MARGIN.left) / wide), place(plot.up, up)];
    }

    // To ask for a width makes the browser lay out the page, which takes longer than to draw.
    function resize() {
      const width = Math.max(host.clientWidth, 240);
      size = [width, Math.round(isSmall ? Math.min(195, 0.45 * width) : Math.min(300, 0.7 * width))];
    }

    function paint() {
      const [wide, high] = lengths();
      if (plot.backdrop) plot.across.ends = plot.up.ends.map(x => x * wide / high); // a circle is one
      const box = `x="${MARGIN.left}" y="${MARGIN.top}" width="${wide}" height="${high}"`;
      svg.setAttribute("viewBox", `0 0 ${size.join(" ")}`);
      svg.style.height = `${size[1]}px`;
      const ground = plot.backdrop ? `<image ${box} href="${plot.backdrop}"/>` : frame(MARGIN.left + wide, MARGIN.top + high);
      const lines = plot.lines.map(drawn).join("");
      svg.innerHTML = `${ground}<svg ${box} viewBox="${MARGIN.left} ${MARGIN.top} ${wide} ${high}">${lines}</svg>` +
        (plot.up.label && `<text class="halo" x="${MARGIN.left - 10}" y="${MARGIN.top - 9}">↑ ${plot.up.label}</text>`) +
        plot.notes.map(note).join("");
      legend.innerHTML = `<strong>${plot.title}</strong>` +
        plot.lines.filter(({ label, points }) => label && points.length).map(swatch).join("");
    }

    function frame(right, bottom) {
      const across = ticksOf(plot.across).map(x => {
        const [at] = pixelOf([x, 1]);
        const text = plot.across.label && `<text x="${at}" y="${bottom + 17}" text-anchor="middle">${tick(x)}</text>`;
        return `<path d="M${at} ${MARGIN.top}V${bottom}"/>${text}`;
      });
      const up = ticksOf(plot.up).map(y => {
        const at = pixelOf([1, y])[1];
        return `<path d="M${MARGIN.left} ${at}H${right}"/><text x="${MARGIN.left - 6}" y="${at + 4}" text-anchor="end">${tick(y)}</text>`;
      });
      return `<g class="grid-lines">${across.join("")}${plot.up.hidden ? "" : up.join("")}</g>` +
        (plot.across.label && `<text x="${right}" y="${bottom + 34}" text-anchor="end">${plot.across.label} →</text>`);
    }

    function drawn({ name, color, width, dash, marker, opacity, points }) {
      const style = `data-name="${name}" style="--line:${color};opacity:${opacity}"`;
      if (marker === "*") {
        return points.map(pixelOf).map(([x, y]) => `<text ${style} class="star" x="${x}" y="${y + 8}" text-anchor="middle">★</text>`).join("");
      }
      const d = marker ? dots(points) : path(points);
      const edge = marker && width > 7 ? `<path class="edge" d="${d}" stroke-width="${width + 5}"/>` : "";
      return `${edge}<path ${style} class="line" d="${d}" stroke-width="${width}" stroke-dasharray="${dash}"/>`;
    }

    // A dot is a line of hardly any length, with round ends.
    function dots(points) {
      return points.map(point => `M${pixelOf(point).map(clipped).join(" ")}h.01`).join("");
    }

    // Points nearer to the last one than can be seen are left out; NaN makes a gap.
    function path(points) {
      let d = "";
      let pen = "M";
      let last = [NaN, NaN];
      for (const point of points) {
        const at = pixelOf(point);
        if (Math.hypot(at[0] - last[0], at[1] - last[1]) < 0.3) continue;
        last = at;
        const isGap = Number.isNaN(at[0] + at[1]);
        if (!isGap) d += `${pen}${at.map(clipped).join(" ")}`;
        pen = isGap ? "M" : "L";
      }
      return d;
    }

    function note({ text, at, anchor = "middle" }) {
      const [x, y] = pixelOf(at);
      return `<text class="halo note" x="${x}" y="${y}" text-anchor="${anchor}">${text}</text>`;
    }

    function swatch({ label, color, marker, opacity }) {
      const shape = marker === "*" ? "★" : marker ? "●" : "▬";
      return `<span><i style="--line:${color};opacity:${opacity}">${shape}</i> ${label}</span>`;
    }

    // What the reader takes hold of: `to` gets the point below the pointer, `step` what an arrow key adds. A finger
    // that moves across scrolls the page unless `touch` is none.
    function grab({ label, to, step, touch = "pan-y" }) {
      const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1], PageUp: [10, 0], PageDown: [-10, 0] };
      svg.tabIndex = 0;
      svg.classList.add("grab");
      svg.style.touchAction = touch;
      svg.role = "slider";
      svg.ariaLabel = label;
      svg.dataset.lmSuppressShortcuts = "true"; // the keys are for the figure, not JupyterLab's
      svg.onpointerdown = event => {
        svg.setPointerCapture(event.pointerId);
        to(pointAt(event));
      };
      svg.onpointermove = event => {
        if (svg.hasPointerCapture(event.pointerId)) to(pointAt(event));
      };
      svg.onkeydown = event => {
        if (!ways[event.key]) return;
        event.preventDefault();
        step(...ways[event.key]);
      };
      plot.say = (now, text) => {
        svg.ariaValueNow = now;
        svg.ariaValueText = text;
      };
    }

    return plot;
  }

  // How far along a scale a number lies, from 0 to 1, and which number lies there.
  function share({ ends: [low, high], log }, x) {
    if (!log) return (x - low) / (high - low);
    return Math.log(Math.max(x, 1e-30) / low) / Math.log(high / low);
  }

  function place({ ends: [low, high], log }, at) {
    const t = Math.min(Math.max(at, 0), 1);
    return log ? low * (high / low) ** t : low + t * (high - low);
  }

  // Powers of ten, or about five steps of 1, 2 or 5 times one.
  function ticksOf({ ends: [low, high], log }) {
    if (log) {
      const [first, last] = [Math.ceil(Math.log10(low)), Math.floor(Math.log10(high))];
      const each = Math.ceil((last - first + 1) / 6);
      return Array.from({ length: Math.floor((last - first) / each) + 1 }, (_, k) => 10 ** (first + each * k));
    }
    const size = 10 ** Math.floor(Math.log10((high - low) / 5));
    const step = size * [1, 2, 5, 10].find(multiple => multiple * size >= (high - low) / 5);
    const first = Math.ceil(low / step);
    return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, k) => (first + k) * step);
  }

  function tick(x) {
    const text = Math.abs(x) < 1e5 ? String(Number(x.toPrecision(6))) : x.toExponential(0).replace("e+", "e");
    return text.replace("-", "−");
  }

  function clipped(x) {
    return Math.min(Math.max(x, -1e4), 1e4).toFixed(1);
  }

  // A matrix as a grid of cells, of three rows and columns, or of those that have these names; where `press` is given
  // they are buttons, which call it with row and column. Returns a function that fills the grid with X, below each
  // number the one that is wanted. A cell is the bluer the larger its number is, up to `largest`, and orange below 0.
  // `open` tells of each entry whether it is a gap.
  function makeGrid(host, label, { press, rows = ["", "", ""], columns = rows, largest = 3.4, show = shown } = {}) {
    const tag = press ? "button" : "div";
    const cell = `<${tag}${press ? " type=button" : ""}></${tag}>`;
    const heads = columns.map(name => name && `<b>${name}</b>`).join("");
    const body = rows.map(name => (name && `<b>${name}</b>`) + cell.repeat(columns.length)).join("");
    host.innerHTML = `<div class="cells" role="group" aria-label="${label}">${heads && `<b></b>${heads}`}${body}</div>`;
    host.firstChild.style.gridTemplateColumns = `${heads && "auto "}repeat(${columns.length}, 1fr)`;
    const cells = [...host.querySelectorAll(".cells > :not(b)")];
    if (press) cells.forEach((cell, k) => { cell.onclick = () => press(Math.floor(k / 3), k % 3); });
    return (X, wanted, open) => cells.forEach((cell, k) => {
      const [x, small] = [X, wanted].map(matrix => show(matrix.flat()[k]));
      const isOpen = open?.flat()[k];
      cell.innerHTML = `<span>${x}</span> <small>${isOpen ? "open" : small || ""}</small>`;
      cell.style.setProperty("--share", Math.min(Math.abs(X.flat()[k]) / largest, 1));
      cell.style.setProperty("--shade", X.flat()[k] < 0 ? "var(--below)" : "var(--above)");
      cell.classList.toggle("open", Boolean(isOpen));
      if (!press) return;
      cell.ariaPressed = String(isOpen);
      cell.title = `row ${Math.floor(k / 3) + 1}, column ${k % 3 + 1}`;
    });
  }

  // A number in about four digits.
  function shown(x) {
    const size = Math.abs(x);
    const text = size < 10 ? x.toFixed(3) : size < 1e4 ? x.toPrecision(4) : x.toExponential(0).replace("e+", "e");
    return text.replace("-0.000", "0.000").replaceAll("-", "−");
  }

  Object.assign(window.mf, { makePlot, makeGrid, shown });
})();
