// Section 5.2's recommendations: the reader gives stars, and both lists follow. Nothing leaves the page.
"use strict";

(() => {
  const { bytesOf, dot } = window.mf;
  const ROWS = 12; // films offered for stars to begin with

  // The newcomer's lists, as the cells of section 5.2 compute them. rated: pairs of a film and its stars.
  function recommend({ mu, b, U, W, decay }, rated) {
    const n = rated.length;
    const rank = U[0].length;
    const left = rated.map(([i, stars]) => stars - mu - b[i]);
    const c = left.reduce((sum, x) => sum + x, 0) / (n + 5);
    const system = U[0].map((_, k) => U[0].map((_, l) =>
      rated.reduce((sum, [i]) => sum + U[i][k] * U[i][l], k === l ? (n + 20) * decay : 0)));
    const right = U[0].map((_, k) => rated.map(([i], p) => U[i][k] * (left[p] - c)));
    const v = solve(system, right); // (rank, n): what each rated film adds to the newcomer's row
    const sizes = rated.map(([i]) => Math.hypot(...W[i]));
    return U.map((u, i) => {
      const added = rated.map((_, p) => u.reduce((sum, x, k) => sum + x * v[k][p], 0));
      const unmasked = rated.map(([j, stars]) => stars * dot(W[i], W[j]));
      return [
        { score: mu + b[i] + c + total(added), reason: largest(added) },
        { score: total(unmasked), reason: largest(unmasked.map((x, p) => x / sizes[p])) },
      ];
    });
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
  const largest = numbers => numbers.indexOf(Math.max(...numbers));

  // The best films of one list, best first, without those that are rated.
  function best(scores, list, rated, length) {
    const seen = new Set(rated.map(([i]) => i));
    const films = scores.map((of, i) => [i, of[list]]).filter(([i]) => !seen.has(i));
    return films.sort(([, x], [, y]) => y.score - x.score).slice(0, length);
  }

  // Factors come as whole numbers of 16 bits, column by column, with a unit for each column.
  function unpack({ int16, units }) {
    const numbers = new Int16Array(bytesOf(int16).buffer);
    const count = numbers.length / units.length;
    return Array.from({ length: count }, (_, i) => units.map((unit, k) => unit * numbers[k * count + i]));
  }

  function come(figure) {
    figure.dataset.live = "";
    const data = JSON.parse(figure.querySelector("script").textContent);
    const model = { ...data, U: unpack(data.U), W: unpack(data.W), b: unpack(data.b).map(([x]) => x) };
    const form = figure.querySelector("form");
    const search = form.querySelector("[type=search]");
    const rows = form.querySelector(".stars");
    const status = figure.querySelector(".status");
    const lists = [...figure.querySelectorAll(".lists ol")];
    const numberOf = new Map(data.titles.map((title, i) => [title, i]));
    const given = new Map(data.mine);

    function offer(i) {
      const row = document.createElement("fieldset");
      const radio = stars => `<label><input type="radio" name="film${i}" value="${stars}" data-lm-suppress-shortcuts ` +
        `aria-label="${stars} star${stars > 1 ? "s" : ""}"${given.get(i) === stars ? " checked" : ""}>★</label>`;
      row.innerHTML = `<legend></legend><span>${[1, 2, 3, 4, 5].map(radio).join("")}</span>`;
      row.firstChild.textContent = data.titles[i];
      return row;
    }

    function show() {
      const rated = [...given];
      const isEmpty = rated.length === 0;
      const scores = isEmpty ? [] : recommend(model, rated);
      lists.forEach((list, number) => {
        list.replaceChildren(...best(scores, number, rated, data.length).map(([i, { reason }]) => {
          const item = document.createElement("li");
          const small = document.createElement("small");
          const [film, stars] = rated[reason];
          small.textContent = `because you gave ${stars} to ${data.titles[film]}`;
          item.append(`${data.titles[i]} `, small);
          return item;
        }));
      });
      status.textContent = isEmpty ? "Give stars to a film that you know." :
        `From your stars for ${rated.length} film${rated.length > 1 ? "s" : ""}:`;
    }

    rows.onchange = event => {
      given.set(Number(event.target.name.slice(4)), Number(event.target.value));
      show();
    };
    search.oninput = () => {
      const i = numberOf.get(search.value);
      if (i === undefined) return;
      const row = rows.querySelector(`[name=film${i}]`)?.closest("fieldset") ?? offer(i);
      rows.prepend(row);
      row.querySelector(":checked, input").focus();
      search.value = "";
    };
    form.onsubmit = () => false;
    form.onreset = () => {
      given.clear();
      for (const radio of rows.querySelectorAll("input")) radio.defaultChecked = false;
      setTimeout(show); // when the controls are cleared
    };
    form.querySelector("datalist").append(...data.titles.map(title => new Option(title)));
    const others = data.offered.filter(i => !given.has(i)).slice(0, Math.max(0, ROWS - given.size));
    rows.append(...[...given.keys(), ...others].map(offer));
    show();
    form.style.display = "";
  }

  window.mf.recommend = recommend;
  document.querySelectorAll("figure.films:not([data-live]):has(> script)").forEach(come);
})();
