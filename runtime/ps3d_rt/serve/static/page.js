"use strict";
// Texts are set as text, never as HTML: names of files come from outside.
const csrf = document.querySelector("meta[name=csrf]").content;
const EVERY = 2000;

function element(kind, cls, text) {
  const made = document.createElement(kind);
  if (cls) made.className = cls;
  if (text !== undefined) made.textContent = text;
  return made;
}
function button(label, path) {
  const made = element("button", "", label);
  made.type = "button";
  made.addEventListener("click", () => act(path));
  return made;
}
function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
function length(mm) {
  if (mm === null || mm === undefined) return "–";
  return mm < 1 ? `${(mm * 1000).toPrecision(3)} µm` : `${mm.toPrecision(3)} mm`;
}
function figure(name, value, cls) {
  const made = element("div", `figure ${cls || ""}`, value);
  made.append(element("small", "", name));
  return made;
}
function row(scan, lines, ...more) {
  const made = element("div", "row"), what = element("div", "what");
  const name = element("div", "name");
  name.append(scan.link ? Object.assign(element("a", "", scan.name), { href: scan.link }) : scan.name);
  what.append(name, ...lines.filter(Boolean).map(([cls, text]) => element("div", cls, text)));
  if (scan.picture) {
    const picture = Object.assign(element("img"), { src: scan.picture, alt: "", loading: "lazy", width: 64, height: 64 });
    made.append(picture);
  }
  made.append(what, ...more);
  return made;
}
function actions(...buttons) {
  const made = element("div", "actions");
  made.append(...buttons);
  return made;
}
const ROWS = {
  queued: scan => row(scan, [
    scan.reason && ["why", `Tried ${scan.failures} times: ${scan.reason}`],
    scan.priority && ["small", `Priority ${scan.priority}`],
  ], actions(
    button("Up", `/scans/${scan.id}/up`), button("Down", `/scans/${scan.id}/down`),
    button("Remove", `/scans/${scan.id}/remove`))),
  failed: scan => row(scan, [["why", scan.reason], ["small", scan.path]], actions(
    button("Retry", `/scans/${scan.id}/retry`), button("Remove", `/scans/${scan.id}/remove`))),
  removed: scan => row(scan, [["small", scan.reason]], actions(button("Retry", `/scans/${scan.id}/retry`))),
  waiting: scan => row({ name: scan.path }, [["small", scan.why]]),
  done: scan => {
    const at = `/results/${encodeURIComponent(scan.name)}/`;
    const made = row({ name: scan.name, link: `${at}report.html`, picture: `${at}preview.jpg` },
      [["small", new Date(scan.changed * 1000).toLocaleString()]],
      figure("particles", (scan.particles ?? "–").toLocaleString()), figure("D50", length(scan.d50_by_volume_mm)),
      figure("warnings", String(scan.warnings ?? 0), scan.warnings ? "warned" : ""));
    made.classList.add("figures");
    return made;
  },
};
const shown = {};

function fill(name, scans, total) {
  const section = document.getElementById(name), key = JSON.stringify([scans, total]);
  if (shown[name] === key) return;
  shown[name] = key;
  section.hidden = !scans.length;
  const rows = scans.map(ROWS[name]);
  if (total > scans.length) rows.push(element("p", "", `and ${total - scans.length} more`));
  section.querySelector("div").replaceChildren(...rows);
}
function fillNow(state) {
  const box = document.querySelector("#now div"), now = state.now;
  if (now.name === undefined) {
    box.replaceChildren(element("p", "", state.paused ? "Paused." : now.stopped ? "The service is stopped." : "Nothing runs."));
    return;
  }
  const left = now.seconds_left == null ? "" : `, ${span(now.seconds_left)} left of this stage`;
  const bar = element("progress");
  bar.max = now.total || 1;
  bar.value = now.done || 0;
  const made = row({ name: now.name }, [["small", `${now.stage || "starts"}: ${now.done || 0} of ${now.total || "–"} ${now.unit || ""}${left}`]]);
  made.querySelector(".what").append(bar);
  box.replaceChildren(made);
}
function trouble(text) {
  const line = document.getElementById("trouble");
  line.hidden = !text;
  line.textContent = text || "";
}
function show(state) {
  const count = state.counts;
  document.getElementById("counts").textContent =
    `${count.done} done, ${count.failed} failed, ${count.queued} in the queue`;
  const pause = document.getElementById("pause");
  pause.textContent = state.paused ? "Go on" : "Pause";
  pause.onclick = () => act(state.paused ? "/queue/resume" : "/queue/pause");
  const silent = state.now.name === undefined && !state.now.stopped && state.age_seconds > 120;
  trouble(state.now.waits || (silent ? "The service has said nothing for two minutes; look whether it runs." : ""));
  fillNow(state);
  for (const name of ["queued", "failed", "done", "removed"]) fill(name, state[name], count[name]);
  fill("waiting", state.waiting, state.waiting.length);
}
async function act(path) {
  const answer = await fetch(path, { method: "POST", headers: { "X-Ps3d-CSRF": csrf } });
  if (!answer.ok) trouble(await answer.text());
  else await refresh();
}
async function refresh() {
  try {
    const answer = await fetch("/state");
    if (answer.status === 401) location.reload();
    show(await answer.json());
  } catch {
    trouble("The page does not reach the service.");
  }
}
async function again() {
  if (!document.hidden) await refresh();
  setTimeout(again, EVERY);
}
again();
