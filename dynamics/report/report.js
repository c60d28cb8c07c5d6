"use strict";
(() => {
  const byId = (id) => document.getElementById(id);

  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    const number = text === "" ? NaN : Number(text.replaceAll(",", ""));
    return { text: cell.dataset.sort === "" ? "" : text, number };
  };

  const sortBy = (table, heading, column) => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, ...value(row, column) }));
    const numeric = rows.every(({ text, number }) => text === "" || !Number.isNaN(number));
    rows.sort((a, b) => {
      if (a.text === "" || b.text === "") return (a.text === "") - (b.text === "");
      const order = numeric ? a.number - b.number : a.text.localeCompare(b.text, "en", { numeric: true });
      return down ? -order : order;
    });
    body.append(...rows.map(({ row }) => row));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sortBy(table, heading, column));
    });
  }

  for (const paragraph of document.querySelectorAll(".filter")) {
    const select = paragraph.querySelector("select");
    const table = byId(select.dataset.table);
    const apply = () => table.classList.toggle("only-best", select.value === "best");
    select.addEventListener("change", apply);
    paragraph.hidden = false;
    apply();
  }

  const holder = byId("data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const slider = byId("slider");
  const chosen = byId("series");
  const shown = byId("shown");
  const play = byId("play");
  const minus = (text) => text.replace("-", "\u2212");
  const level = (x, digits = 2) => (x === null ? "\u2013" : minus((Math.abs(x) < 0.5 / 10 ** digits ? 0 : x).toFixed(digits)));
  const thousands = (x) => x.toLocaleString("en-US");
  const make = (tag, text, kind) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (kind) element.className = kind;
    return element;
  };

  const current = () => data.series[chosen ? Number(chosen.value) : 0];
  const steps = () => (data.series.length ? current().steps : data.rdms.steps);

  const drawProfile = (place) => {
    const one = current();
    const span = one.top - one.bottom;
    const part = (x) => `${((100 * (x - one.bottom)) / span).toFixed(2)}%`;
    const length = (x) => `${((100 * x) / span).toFixed(2)}%`;
    const rows = one.layers.map((name, layer) => {
      const [score, low, high] = [one.score, one.low, one.high].map((rows) => rows[place][layer]);
      const row = make("tr");
      const heading = make("th", name);
      heading.scope = "row";
      const bar = make("div", undefined, "bar");
      bar.style.setProperty("--zero", part(0));
      if (score !== null) {
        bar.append(make("i"));
        bar.style.setProperty("--from", part(Math.min(0, score)));
        bar.style.setProperty("--size", length(Math.abs(score)));
      }
      if (low !== null && high !== null) {
        bar.append(make("b"));
        bar.style.setProperty("--low", part(low));
        bar.style.setProperty("--width", length(high - low));
      }
      for (const [tag, key] of [["u", "baseline"], ["s", "ceiling"]]) {
        if (one[key] !== null) {
          bar.append(make(tag));
          bar.style.setProperty(`--${key}`, part(one[key]));
        }
      }
      const limits = low === null || high === null ? "" : `[${level(low)}, ${level(high)}]`;
      const cell = make("td", undefined, "bars");
      cell.append(bar);
      row.append(heading, make("td", level(score), "n"), make("td", limits, "n"), cell);
      return row;
    });
    const table = byId("profile");
    table.tBodies[0].replaceChildren(...rows);
    table.tHead.rows[0].cells[3].textContent = `From ${level(one.bottom)} to ${level(one.top)}`;
    byId("profile-caption").textContent = `${one.group}, ${one.name}, ${data.unit} ${thousands(one.steps[place])}`;
    byId("profile-key").textContent = one.key;
  };

  const drawDissimilarities = (step) => {
    const gap = data.rdms.steps.map((other) => Math.abs(Math.log1p(other) - Math.log1p(step)));
    const place = gap.indexOf(Math.min(...gap));
    const at = thousands(data.rdms.steps[place]);
    byId("rdm-caption").textContent = `At ${data.unit} ${at}.`;
    for (const frame of document.querySelectorAll(".frame")) {
      frame.style.setProperty("--frame", place);
      const picture = frame.firstElementChild;
      picture.alt = `Dissimilarity matrix of ${picture.dataset.layer} at ${data.unit} ${at}`;
    }
  };

  const draw = () => {
    const place = Number(slider.value);
    const step = steps()[place];
    shown.textContent = thousands(step);
    slider.setAttribute("aria-valuetext", `${data.unit} ${thousands(step)}`);
    if (data.series.length) drawProfile(place);
    if (data.rdms) drawDissimilarities(step);
  };

  const fit = () => {
    const before = Number(shown.textContent.replaceAll(",", ""));
    slider.max = steps().length - 1;
    const reached = steps().filter((step) => step <= before).length - 1;
    slider.value = Math.max(0, reached);
    draw();
  };

  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  };
  play.addEventListener("click", () => {
    if (timer !== null) return stop();
    if (Number(slider.value) >= Number(slider.max)) slider.value = 0;
    draw();
    play.textContent = "Stop";
    timer = setInterval(() => {
      if (Number(slider.value) >= Number(slider.max)) return stop();
      slider.value = Number(slider.value) + 1;
      draw();
    }, 500);
  });
  slider.addEventListener("input", () => {
    stop();
    draw();
  });
  if (chosen) chosen.addEventListener("change", fit);
  play.hidden = matchMedia("(prefers-reduced-motion: reduce)").matches || steps().length < 2;
  slider.disabled = steps().length < 2;
  byId("controls").hidden = false;
  fit();
})();
