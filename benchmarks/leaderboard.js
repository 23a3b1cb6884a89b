"use strict";
// Sorting, the read-out under the pointer, rows switched on and off, videos in step, provenance on click.

function sortBy(header) {
  const table = header.closest("table");
  const column = header.cellIndex;
  const before = header.getAttribute("aria-sort");
  const first = column === 0 ? "ascending" : header.dataset.first || "descending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = before === first ? other : first;
  for (const cell of header.parentNode.cells) cell.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const key = (row) => {
    const cell = row.cells[column];
    if (column === 0) return cell.textContent.trim();
    return cell.dataset.value ? Number(cell.dataset.value) : NaN;
  };
  const compare = (a, b) => {
    const x = key(a), y = key(b);
    if (typeof x === "string") return sign * x.localeCompare(y);
    // What was not measured goes last, whichever way the column is sorted.
    return (Number.isNaN(x) - Number.isNaN(y)) || sign * (x - y) || 0;
  };
  // Floors and ceilings keep their own place: only rows of one body are compared.
  for (const body of table.tBodies) body.append(...Array.from(body.rows).sort(compare));
}
for (const button of document.querySelectorAll(".figures thead button")) {
  button.addEventListener("click", () => sortBy(button.parentNode));
}

for (const button of document.querySelectorAll("[data-open]")) {
  button.addEventListener("click", () => document.getElementById(button.dataset.open).showModal());
}
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}

for (const button of document.querySelectorAll("[data-toggle]")) {
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    const shown = document.querySelectorAll(`:is(path, figure, g)[data-row="${button.dataset.toggle}"]`);
    for (const element of shown) element.classList.toggle("off", !on);
  });
}

function nearest(times, t) {
  let best = 0;
  for (let i = 1; i < times.length; i++) if (Math.abs(times[i] - t) < Math.abs(times[best] - t)) best = i;
  return best;
}
for (const figure of document.querySelectorAll(".chart:not(.scatter)")) {
  const svg = figure.querySelector("svg");
  const cursor = svg.querySelector(".cursor");
  const readout = figure.querySelector(".readout");
  const data = JSON.parse(figure.querySelector("script").textContent);
  const hide = () => { readout.hidden = true; cursor.setAttribute("d", ""); };
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = Math.min(data.right, Math.max(data.left, (event.clientX - box.left) * 600 / box.width));
    const t = data.low + (x - data.left) / (data.right - data.left) * (data.high - data.low);
    const lines = [];
    for (const row of data.rows) {
      const path = svg.querySelector(`.line[data-row="${row.id}"]`);
      if (!path || path.classList.contains("off") || !row.t.length) continue;
      const i = nearest(row.t, t);
      if (row.mean[i] !== null) lines.push([row.mean[i], row.lo[i], row.hi[i], row.id, row.t[i]]);
    }
    if (!lines.length) { hide(); return; }
    lines.sort((a, b) => b[0] - a[0]);
    readout.replaceChildren();
    const head = document.createElement("div");
    head.textContent = `frame ${lines[0][4]}`;
    readout.append(head);
    for (const [mean, low, high, id] of lines) {
      const line = document.createElement("div");
      line.append(document.querySelector(`[data-toggle="${id}"] .swatch`).cloneNode());
      const value = document.createElement("b");
      value.textContent = String(mean);
      const range = low === undefined || low === null ? "" : ` [${low}, ${high}]`;
      const name = document.querySelector(`[data-toggle="${id}"] span`).textContent;
      line.append(value, `${range} ${name}`);
      readout.append(line);
    }
    readout.hidden = false;
    cursor.setAttribute("d", `M${x},12V240`);
    const place = (x / 600) * box.width;
    readout.style.left = x < 300 ? `${place + 14}px` : "";
    readout.style.right = x < 300 ? "" : `${box.width - place + 14}px`;
  });
}

for (const gallery of document.querySelectorAll(".gallery")) {
  const videos = Array.from(gallery.querySelectorAll("video"));
  if (!videos.length) continue;
  const play = gallery.querySelector(".play");
  const slider = gallery.querySelector("input");
  const output = gallery.querySelector("output");
  const lead = videos[0];
  let playing = false;
  const show = () => { output.textContent = `${lead.currentTime.toFixed(1)} / ${(lead.duration || 0).toFixed(1)} s`; };
  const set = (on) => {
    playing = on;
    play.textContent = on ? "❚❚ pause all" : "▶ play all";
    for (const video of videos) {
      if (on) { video.currentTime = lead.currentTime; video.play().catch(() => {}); } else video.pause();
    }
  };
  play.addEventListener("click", () => set(!playing));
  slider.addEventListener("input", () => {
    set(false);
    for (const video of videos) video.currentTime = slider.value * (video.duration || 0);
    show();
  });
  lead.addEventListener("loadedmetadata", show);
  lead.addEventListener("timeupdate", () => {
    if (lead.duration) slider.value = lead.currentTime / lead.duration;
    show();
    // A loop restarts each video a little apart; pull those that drifted back into step.
    if (playing) for (const video of videos) if (Math.abs(video.currentTime - lead.currentTime) > 0.15) video.currentTime = lead.currentTime;
  });
}
for (const video of document.querySelectorAll(".card video")) {
  // The browser's own bar hides half of a small picture, so it shows while the pointer is there.
  video.controls = false;
  video.tabIndex = 0;
  for (const event of ["pointerenter", "focus"]) video.addEventListener(event, () => { video.controls = true; });
  for (const event of ["pointerleave", "blur"]) video.addEventListener(event, () => { video.controls = false; });
  // Wide clips keep their shape; the square is only for the time before the size is known.
  video.addEventListener("loadedmetadata", () => { video.style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`; });
}
