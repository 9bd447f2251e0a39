// Section 5.2's recommendations: the reader gives stars, and both lists follow. Nothing leaves the page.
"use strict";

(() => {
  const { unpack, dot } = window.mf;
  const ROWS = 8; // films offered for stars to begin with
  const HITS = 6; // films offered for a search

  // The newcomer's scores in both lists, as the cells of section 5.2 compute them, and what each rated film adds to
  // that of film i. rated: pairs of a film and its stars.
  function recommend({ mu, b, U, W, decay }, rated) {
    const n = rated.length;
    const left = rated.map(([i, stars]) => stars - mu - b[i]);
    const c = total(left) / (n + 5);
    const system = U[0].map((_, k) => U[0].map((_, l) =>
      rated.reduce((sum, [i]) => sum + U[i][k] * U[i][l], k === l ? (n + 20) * decay : 0)));
    const right = U[0].map((_, k) => rated.map(([i], p) => U[i][k] * (left[p] - c)));
    const v = solve(system, right); // (rank, n): what each rated film adds to the newcomer's row
    const row = v.map(total);
    const unmasked = W[0].map((_, k) => total(rated.map(([j, stars]) => stars * W[j][k])));
    return [
      { scores: U.map((u, i) => mu + b[i] + c + dot(u, row)), added: i => rated.map((_, p) => dot(U[i], v.map(x => x[p]))) },
      { scores: W.map(w => dot(w, unmasked)), added: i => rated.map(([j, stars]) => stars * dot(W[i], W[j])) },
    ];
  }

  // Both lists. A film is there because of one that is rated if it would not be there without it.
  function listsOf(model, rated) {
    const top = scores => best(scores, rated, model.length);
    const ranks = model.titles.map((_, i) => -(model.popular.indexOf(i) + 1 || Infinity));
    const forEverybody = [top(model.b), top(ranks)];
    const without = rated.map((_, p) => recommend(model, rated.filter((_, q) => q !== p)).map(({ scores }, number) =>
      scores.some(Boolean) ? top(scores) : forEverybody[number]));
    return recommend(model, rated).map(({ scores, added }, number) => top(scores).map(film => {
      const shares = added(film);
      const needed = shares.map((x, p) => without[p][number].includes(film) ? -Infinity : x);
      const most = Math.max(...needed);
      let why = "because of several of yours";
      if (most > -Infinity) why = `because of ${model.titles[rated[needed.indexOf(most)][0]]}`;
      else if (forEverybody[number].includes(film)) why = ["liked by most of its raters", "among the most popular"][number];
      const note = number ? why : `${Math.min(5, scores[film]).toFixed(1)} stars, ${why}`;
      return { film, moved: total(shares), note };
    }));
  }

  // X with A X = B, by Gauss and Jordan; A is symmetric with a positive diagonal, so no row is exchanged.
  function solve(A, B) {
    const rows = A.map((row, k) => [...row, ...B[k]]);
    for (let k = 0; k < rows.length; k++) {
      const pivot = rows[k][k];
      rows[k] = rows[k].map(x => x / pivot);
      for (let l = 0; l < rows.length; l++) {
        if (l === k) continue;
        const factor = rows[l][k];
        rows[l] = rows[l].map((x, column) => x - factor * rows[k][column]);
      }
    }
    return rows.map(row => row.slice(A.length));
  }

  const total = numbers => numbers.reduce((sum, x) => sum + x, 0);

  // The films with the highest scores, the best first, without those that are rated.
  function best(scores, rated, length) {
    const left = Float64Array.from(scores);
    for (const [i] of rated) left[i] = -Infinity;
    const least = left.slice().sort().at(-length); // quicker than to sort the films
    const films = [...left.keys()].filter(i => left[i] >= least && left[i] > -Infinity);
    return films.sort((i, j) => left[j] - left[i]).slice(0, length);
  }

  // A title as one types it: "Matrix, The (1999)" and "the matrix" have the same words.
  function wordsOf(title) {
    const plain = title.normalize("NFD").replace(/[\p{M}'’]/gu, "").toLowerCase();
    return (plain.match(/[\p{L}\p{N}]+/gu) ?? []).filter(word => word !== "and");
  }

  // A matrix of packed columns, as rows.
  function rowsOf(packed) {
    const columns = unpack(packed);
    return Array.from(columns[0], (_, i) => columns.map(column => column[i]));
  }

  const modelOf = data => ({ ...data, U: rowsOf(data.U), W: rowsOf(data.W), b: unpack(data.b)[0] });

  // Dots at these places. The nearest to the pointer is named, and a click picks it. mark gives a class to dots.
  function drawMap(box, places, titles, pick) {
    const svg = box.querySelector("svg");
    const ends = [0, 1].map(k => [Math.min, Math.max].map(end => end(...places.map(place => place[k]))));
    const [[left, right], [bottom, top]] = ends;
    const points = places.map(([x, y]) => [700 * (x - left) / (right - left), 400 * (top - y) / (top - bottom)]);
    svg.setAttribute("viewBox", "-8 -8 716 416");
    svg.innerHTML = points.map(([x, y]) => `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="3"/>`).join("");
    const dots = [...svg.children];
    const mark = (name, films) => {
      const marked = new Set(films);
      dots.forEach((dot, i) => dot.classList.toggle(name, marked.has(i)));
      if (name !== "rated") box.querySelector("output").textContent = films.length === 1 ? titles[films[0]]
        : "The films, by the first two directions of the fit: point at one, and click to give it stars.";
    };
    const nearest = event => {
      const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const far = points.map(([px, py]) => Math.hypot(px - x, py - y));
      return far.indexOf(Math.min(...far));
    };
    svg.onpointermove = event => mark("near", [nearest(event)]);
    svg.onpointerleave = () => mark("near", []);
    svg.onclick = event => pick(nearest(event));
    mark("near", []);
    box.style.display = "";
    return { mark };
  }

  function mount(figure) {
    figure.dataset.live = "";
    const data = JSON.parse(figure.querySelector("script").textContent);
    const model = modelOf(data);
    const form = figure.querySelector("form");
    const search = form.querySelector("[type=search]");
    const hits = form.querySelector(".hits");
    const rows = form.querySelector(".stars");
    const words = data.titles.map(wordsOf);
    const map = drawMap(figure.querySelector(".map"), rowsOf(data.places), data.titles, add);
    const given = new Map(data.mine);

    function offer(i) {
      const row = document.createElement("fieldset");
      const radio = stars => `<label><input type="radio" name="film${i}" value="${stars}" data-lm-suppress-shortcuts ` +
        `aria-label="${stars} star${stars > 1 ? "s" : ""}"${given.get(i) === stars ? " checked" : ""}></label>`;
      row.innerHTML = `<legend></legend><span>${[1, 2, 3, 4, 5].map(radio).join("")}</span>` +
        '<button type="button" aria-label="Take the stars back">✕</button>';
      row.firstChild.textContent = data.titles[i];
      row.dataset.film = i;
      return row;
    }

    function show() {
      const rated = [...given];
      map.mark("rated", [...given.keys()]);
      const lists = rated.length ? listsOf(model, rated) : [[], []];
      figure.querySelectorAll(".lists ol").forEach((list, number) => {
        list.replaceChildren(...lists[number].map(({ film, note }) => {
          const item = document.createElement("li");
          const small = document.createElement("small");
          small.textContent = note;
          item.append(`${data.titles[film]} `, small);
          return item;
        }));
      });
      figure.querySelector(".status").textContent = finding(rated, lists[0].map(({ moved }) => moved));
    }

    function finding(rated, moved) {
      if (!rated.length) return "Give stars to a film that you know.";
      const [least, most] = [Math.min(...moved), Math.max(...moved)].map(x => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(2)}`);
      const levels = `${least} to ${most} of a prediction; all else is the film's level and yours.`;
      if (rated.length > 1) return `From your stars for ${rated.length} films. In the first list their factors make ${levels}`;
      return `From your stars for one film. In the first list its factors make ${levels} The second list is the same for 1 ` +
        "and for 5 stars: without a mask a score is a multiple of your stars, and to have rated a film counts as to like it.";
    }

    function add(i) {
      const row = rows.querySelector(`[data-film="${i}"]`) ?? offer(i);
      rows.prepend(row);
      (row.querySelector(":checked") ?? row.querySelector("input")).focus();
      search.value = "";
      hits.replaceChildren();
      map.mark("found", []);
    }

    rows.onchange = ({ target }) => {
      given.set(Number(target.closest("fieldset").dataset.film), Number(target.value));
      show();
    };
    rows.onclick = ({ target }) => {
      if (!target.matches("button")) return;
      const row = target.closest("fieldset");
      given.delete(Number(row.dataset.film));
      for (const radio of row.querySelectorAll("input")) radio.checked = false;
      row.querySelector("input").focus();
      show();
    };
    search.oninput = () => {
      const typed = wordsOf(search.value);
      const begins = i => words[i].join("").startsWith(typed.join("")); // as "spiderman" does, of Spider-Man
      const fits = i => begins(i) || typed.every(word => words[i].some(other => other.startsWith(word)));
      const others = i => words[i].filter(word => !typed.includes(word)).length; // fewest first: Alien, then Aliens
      const rank = i => others(i) - (begins(i) ? 100 : 0);
      const found = typed.length ? [...words.keys()].filter(fits).sort((i, j) => rank(i) - rank(j)) : [];
      map.mark("found", found);
      hits.replaceChildren(...found.slice(0, HITS).map(i => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = data.titles[i];
        button.onclick = () => add(i);
        return button;
      }));
      if (typed.length && !found.length) hits.textContent = `None found among ${data.titles.length.toLocaleString("en")} films: try one word of the title.`;
      if (found.length > HITS) hits.append(` and ${found.length - HITS} more`);
    };
    form.onsubmit = () => {
      hits.querySelector("button")?.click();
      return false;
    };
    form.onreset = () => {
      given.clear();
      for (const radio of rows.querySelectorAll("input")) radio.defaultChecked = false;
      hits.replaceChildren();
      setTimeout(show); // when the controls are cleared
    };
    const others = data.popular.filter(i => !given.has(i)).slice(0, Math.max(0, ROWS - given.size));
    rows.append(...[...given.keys(), ...others].map(offer));
    show();
    form.style.display = "";
  }

  Object.assign(window.mf, { listsOf, modelOf });
  document.querySelectorAll("figure.films:not([data-live]):has(> script)").forEach(mount);
})();
