"use strict";
// The video wall: every video of an episode at one frame, one player for all. The cost axis, chosen.

const KIND_NAMES = {
  context: "given", unseen: "unseen", revisit_context: "revisit of the context",
  revisit_generated: "revisit of generated frames",
};

function setUpWall(wall) {
  const find = (selector) => wall.querySelector(selector);
  const play = find(".play"), slider = find("input[type=range]"), counter = find("output"), badge = find(".kind");
  const speed = find(".speed"), chosen = find(".episodes");
  let episode = null, playing = false, shownFrame = -1, request = 0;

  // Without the types of the frames the position is told in seconds, in steps of 1/25.
  const fps = () => episode.data.fps || 25;
  const count = () => episode.data.count || Math.max(1, Math.round((lead().duration || 0) * 25));
  const videos = () => episode.videos.filter((video) => video.closest("figure").offsetParent !== null && !video.error);
  const lead = () => videos()[0] || episode.videos[0];
  const frameOf = (video) => Math.min(count() - 1, Math.floor(video.currentTime * fps() + 0.01));
  // The middle of a frame, so that rounding never shows its neighbour.
  const timeOf = (frame) => (Number(frame) + 0.5) / fps();

  function kindOf(frame) {
    let start = 0;
    for (const [kind, length] of episode.data.runs) {
      start += length;
      if (frame < start) return kind;
    }
    return "";
  }
  function show(frame) {
    if (frame === shownFrame) return;
    shownFrame = frame;
    slider.max = String(count() - 1);
    slider.value = String(frame);
    const kind = kindOf(frame);
    episode.root.dataset.kind = kind;
    badge.dataset.kind = kind;
    badge.textContent = KIND_NAMES[kind] || "";
    badge.hidden = !kind;
    const last = count() - 1;
    counter.textContent = episode.data.fps ? `frame ${frame} / ${last}` : `${(frame / 25).toFixed(1)} / ${(last / 25).toFixed(1)} s`;
    slider.setAttribute("aria-valuetext", `${counter.textContent} ${badge.textContent}`);
  }
  function seek(frame) {
    const at = Math.max(0, Math.min(count() - 1, frame));
    for (const video of videos()) video.currentTime = timeOf(at);
    show(at);
  }
  function stop() {
    playing = false;
    cancelAnimationFrame(request);
    play.textContent = "▶ play";
    for (const video of episode.videos) video.pause();
  }
  function start() {
    if (shownFrame >= count() - 1) seek(0);
    playing = true;
    play.textContent = "❚❚ pause";
    const rate = Number(speed.value);
    for (const video of videos()) {
      video.playbackRate = rate;
      video.play().catch(() => {});
    }
    cancelAnimationFrame(request);
    request = requestAnimationFrame(step);
  }
  function step() {
    if (!playing) return;
    const first = lead(), rate = Number(speed.value);
    show(frameOf(first));
    if (first.ended || shownFrame >= count() - 1) { stop(); seek(count() - 1); return; }
    for (const video of videos()) {
      if (video === first) { video.playbackRate = rate; continue; }
      // A video that is a little off runs a little faster or slower; one that is far off jumps.
      const behind = first.currentTime - video.currentTime;
      if (Math.abs(behind) > 0.5) video.currentTime = first.currentTime;
      else video.playbackRate = rate * (Math.abs(behind) < 0.5 / fps() ? 1 : 1 + Math.max(-0.25, Math.min(0.25, behind)));
      if (video.paused && !video.ended) video.play().catch(() => {});
    }
    request = requestAnimationFrame(step);
  }
  function choose(number) {
    if (episode) stop();
    const before = shownFrame;
    for (const one of episodes) {
      one.root.hidden = one !== episodes[number];
      one.marks.toggleAttribute("hidden", one !== episodes[number]);
    }
    episode = episodes[number];
    for (const video of episode.videos) video.preload = "auto";
    shownFrame = -1;
    seek(Math.max(0, before));
  }

  const marks = wall.querySelectorAll(".track svg");
  const episodes = Array.from(wall.querySelectorAll(".tiles"), (root, number) => ({
    root, marks: marks[number], videos: Array.from(root.querySelectorAll("video")),
    data: JSON.parse(root.querySelector("script").textContent),
  }));
  for (const one of episodes) {
    for (const video of one.videos) {
      video.controls = false;
      video.addEventListener("error", () => video.closest("figure").classList.add("missing"));
      video.addEventListener("loadedmetadata", () => {
        video.style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
        // The first shown frame may be asked for before the file is there.
        if (one === episode && !playing) { video.currentTime = timeOf(Math.max(0, shownFrame)); if (!one.data.fps) { shownFrame = -1; show(0); } }
      });
    }
  }
  play.addEventListener("click", () => (playing ? stop() : start()));
  slider.addEventListener("input", () => { stop(); seek(Number(slider.value)); });
  chosen.addEventListener("change", () => choose(chosen.selectedIndex));
  for (const button of wall.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => { stop(); seek(shownFrame + Number(button.dataset.step)); });
  }
  for (const button of wall.querySelectorAll("[data-next]")) {
    button.addEventListener("click", () => {
      stop();
      let start = 0;
      const starts = [];
      for (const [kind, length] of episode.data.runs) {
        if (kind === button.dataset.next) starts.push(start);
        start += length;
      }
      const next = starts.find((frame) => frame > shownFrame);
      if (starts.length) seek(next === undefined ? starts[0] : next);
    });
  }
  find(".controls-too").addEventListener("change", (event) => {
    wall.classList.toggle("all", event.target.checked);
    // Rows that were hidden have to catch up.
    const frame = shownFrame, was = playing;
    stop();
    seek(frame);
    if (was) start();
  });
  for (const button of wall.closest(".board").querySelectorAll("[data-toggle]")) {
    // Runs after the switch itself: rows that come back are shown at the frame of the others.
    button.addEventListener("click", () => { if (!playing) seek(shownFrame); });
  }
  choose(0);
}
for (const wall of document.querySelectorAll(".wall")) setUpWall(wall);

for (const group of document.querySelectorAll(".cost-axis")) {
  const buttons = Array.from(group.querySelectorAll("button"));
  const figures = Array.from(group.parentNode.querySelectorAll("figure[data-cost]"));
  const choose = (cost) => {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.cost === cost));
    for (const figure of figures) figure.hidden = figure.dataset.cost !== cost;
  };
  for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.cost));
  if (buttons.length) choose(buttons[0].dataset.cost);
}
