// Keeps an open page up to date; without it, all is still there after a reload. No dependency, no inline code:
// the pages' content security policy allows this file alone.
"use strict";

const live = document.getElementById("page-live");
const notice = document.getElementById("page-notice");
const SLOWEST = 30000;

// Times in the reader's own zone. The server writes UTC.
const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!isNaN(at)) {
      time.title = time.title || time.textContent;
      time.textContent = clock.format(at);
    }
  }
}

function spell(seconds) {
  if (seconds < 120) return `${Math.max(0, Math.floor(seconds))} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function tick() {
  for (const span of document.querySelectorAll("[data-since]")) {
    span.textContent = spell((Date.now() - new Date(span.dataset.since)) / 1000);
  }
}

// Makes `old` what `fresh` is and leaves alone what is the same: marks, open details, places scrolled to, the focus.
function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.id === "page-console-text") return append(old, fresh);
  if (fresh.id === "page-report" && "same" in fresh.dataset) return;
  for (const { name, value } of [...fresh.attributes]) {
    if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  const stay = new Set([...fresh.children].map((one) => one.id).filter(Boolean));
  let place = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    let match = null;
    if (child.id) {
      match = [...old.children].find((one) => one.id === child.id) ?? null;
      // What goes is removed first: an element that is moved around it would lose the place it is scrolled to.
      while (match && place && place !== match && !stay.has(place.id)) {
        const gone = place;
        place = place.nextSibling;
        gone.remove();
      }
    } else if (place && !place.id && place.nodeName === child.nodeName) match = place;
    if (!match) {
      old.insertBefore(child, place);
      continue;
    }
    if (match === place) place = place.nextSibling;
    else old.insertBefore(match, place);
    if (match.nodeType === Node.ELEMENT_NODE) morph(match, child);
    else if (match.data !== child.data) match.data = child.data;
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

// The console only grows: what is new is added, and the reader who is at its end stays there.
function append(old, fresh) {
  const atEnd = old.scrollHeight - old.scrollTop - old.clientHeight < 40;
  if (fresh.dataset.begin === old.dataset.end && fresh.dataset.begin !== "-1") old.append(fresh.textContent);
  else if (old.textContent !== fresh.textContent) old.textContent = fresh.textContent;
  old.dataset.end = fresh.dataset.end;
  if (atEnd) old.scrollTop = old.scrollHeight;
}

const text = document.getElementById("page-console-text");
if (text) text.scrollTop = text.scrollHeight;
localise(document);
tick();
setInterval(tick, 1000);

// Asks for what has changed. Hidden tabs don't ask; one that fails asks more and more seldom.
function address() {
  const console_ = document.getElementById("page-console-text");
  const report = document.getElementById("page-report");
  if (!console_) return live.dataset.url;
  return `${live.dataset.url}?start=${Math.max(0, console_.dataset.end)}&seq=${report.dataset.seq ?? 0}`;
}

function goesOn() {
  const tools = document.getElementById("page-tools");
  return !tools || "goesOn" in tools.dataset;
}

async function follow() {
  const every = Number(live.dataset.every);
  let pause = every;
  let tag = "";
  let asked = "";
  while (goesOn()) {
    await new Promise((wake) => setTimeout(wake, pause));
    if (document.hidden) continue;
    const url = address();
    try {
      const answer = await fetch(url, { cache: "no-store", redirect: "error", headers: tag && asked === url ? { "If-None-Match": tag } : {} });
      if (answer.status === 401 || answer.status === 404) {
        notice.textContent = answer.status === 401 ? "You have been logged out. Load the page again to log in." : "This is not there any more.";
        return;
      }
      if (!answer.ok && answer.status !== 304) throw new Error(String(answer.status));
      notice.textContent = "";
      pause = every;
      if (answer.status === 304) continue;
      [tag, asked] = [answer.headers.get("ETag") ?? "", url];
      show(await answer.text());
    } catch {
      pause = Math.min(pause * 2, SLOWEST);
      notice.textContent = "The gateway does not answer. Trying again …";
    }
  }
}

function show(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body;
  localise(fresh);
  const holder = live.cloneNode(false);
  holder.append(...fresh.childNodes);
  morph(live, holder);
  const title = document.getElementById("page-tools")?.dataset.title;
  if (title) document.title = title;
  tick();
}

if (live) follow();
