// The demo page: plays master.m3u8 with hls.js and shows what is being received.
// The page needs nothing but its own folder; player.js is bundled with hls.js by esbuild.
import Hls from "hls.js";

const SOURCE = "master.m3u8";
const REFRESH_MS = 250;

const element = (id) => document.getElementById(id);
const video = element("video");
let received_bytes = 0;

function start() {
  if (!Hls.isSupported()) {
    // Safari on iOS has no Media Source Extensions but plays HLS by itself.
    if (video.canPlayType("application/vnd.apple.mpegurl")) video.src = SOURCE;
    else notice("This browser can play neither HLS nor Media Source Extensions.");
    return;
  }
  // The second bound too, or a fast server fills the buffer with the whole stream at once.
  const hls = new Hls({ maxBufferLength: 20, maxMaxBufferLength: 20 });
  hls.on(Hls.Events.MANIFEST_PARSED, () => list_renditions(hls));
  hls.on(Hls.Events.LEVEL_SWITCHED, () => mark_choice(hls));
  hls.on(Hls.Events.FRAG_LOADED, (_event, data) => { received_bytes += data.frag.stats.loaded; });
  hls.on(Hls.Events.ERROR, (_event, data) => recover(hls, data));
  hls.loadSource(SOURCE);
  hls.attachMedia(video);
  window.setInterval(() => show_stats(hls), REFRESH_MS);
}

/// One button a rendition, and one that leaves the choice to the measured bandwidth (level -1).
function list_renditions(hls) {
  element("renditions").replaceChildren(
    button(hls, -1, "Auto"),
    ...hls.levels.map((level, index) => button(hls, index, `${level.height}p`)),
  );
  mark_choice(hls);
  // A browser may refuse to start by itself; the controls are there then.
  video.play().catch(() => {});
}

function button(hls, level, text) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.dataset.level = String(level);
  made.addEventListener("click", () => {
    hls.nextLevel = level;
    mark_choice(hls);
  });
  return made;
}

function mark_choice(hls) {
  const chosen = hls.autoLevelEnabled ? -1 : hls.manualLevel;
  for (const each of element("renditions").children) {
    each.setAttribute("aria-pressed", String(Number(each.dataset.level) === chosen));
  }
}

function show_stats(hls) {
  const level = hls.levels[hls.currentLevel];
  const quality = video.getVideoPlaybackQuality();
  element("rendition").textContent = level
    ? `${level.width}×${level.height} · ${megabits(level.bitrate)}` : "–";
  element("bandwidth").textContent = megabits(hls.bandwidthEstimate);
  element("buffer").textContent = `${buffered_ahead_s().toFixed(1)} s`;
  element("frames").textContent =
    `${quality.totalVideoFrames} (${quality.droppedVideoFrames} dropped)`;
  element("received").textContent = `${(received_bytes / 1e6).toFixed(1)} MB`;
}

function buffered_ahead_s() {
  const { buffered, currentTime } = video;
  for (let i = 0; i < buffered.length; ++i) {
    if (buffered.start(i) <= currentTime && currentTime <= buffered.end(i)) {
      return buffered.end(i) - currentTime;
    }
  }
  return 0;
}

function megabits(bits_per_second) {
  if (!Number.isFinite(bits_per_second)) return "–";
  const value = bits_per_second / 1e6;
  return value >= 1000 ? `${(value / 1000).toFixed(1)} Gbit/s` : `${value.toFixed(1)} Mbit/s`;
}

/// hls.js retries what is not fatal by itself.
function recover(hls, data) {
  if (!data.fatal) return;
  if (data.type === Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
  else notice(`The stream cannot be played: ${data.details}.`);
}

function notice(text) {
  element("notice").textContent = text;
  element("notice").hidden = false;
}

start();
