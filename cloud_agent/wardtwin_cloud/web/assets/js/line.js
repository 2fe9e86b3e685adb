// The line to the agent: server-sent events with resume, a watch that notices a dead line, and the server's clock.
import { context, h, setText, t } from "./page.js";
import { clock, clockSeconds } from "./format.js";

const DEAD_AFTER_MS = 25_000; // the agent sends a pulse every 10 s
const RETRY_MS = 3_000;

let base = { server: context.now, local: performance.now() };
const speed = context.speed;

/** The agent's clock, carried on between its events by the page's own. */
export function now() {
  return base.server + ((performance.now() - base.local) / 1000) * speed;
}

function setClock(server) {
  base = { server, local: performance.now() };
}

export class Line {
  /** `handlers` maps event names (snapshot, delta) to functions; `onState` hears "live" and "lost". */
  constructor(handlers, onState = () => {}) {
    this.handlers = handlers;
    this.onState = onState;
    this.lastId = context.last_id;
    this.state = "connecting";
    this.lostAt = null;
    this.heard = performance.now();
    this.open();
    setInterval(() => this.watch(), 1000);
  }

  open() {
    this.source = new EventSource(`/api/v1/events?after=${encodeURIComponent(this.lastId)}`);
    this.source.onopen = () => this.hear();
    this.source.onerror = () => {
      this.lose();
      if (this.source.readyState === EventSource.CLOSED) this.retryAt = performance.now() + RETRY_MS;
    };
    for (const name of ["snapshot", "delta", "pulse"]) {
      this.source.addEventListener(name, (event) => {
        const data = JSON.parse(event.data);
        if (event.lastEventId) this.lastId = event.lastEventId;
        setClock(data.now);
        this.hear();
        this.handlers[name]?.(data);
      });
    }
  }

  hear() {
    this.heard = performance.now();
    if (this.state !== "live") {
      this.state = "live";
      this.lostAt = null;
      this.onState("live");
    }
  }

  lose() {
    if (this.state === "lost") return;
    this.lostAt = now() - ((performance.now() - this.heard) / 1000) * speed;
    this.state = "lost";
    this.onState("lost");
  }

  watch() {
    const silence = performance.now() - this.heard;
    if (silence > DEAD_AFTER_MS && this.source.readyState === EventSource.OPEN) {
      this.lose();
      this.source.close();
      this.retryAt = performance.now();
    }
    if (this.source.readyState === EventSource.CLOSED && performance.now() >= (this.retryAt ?? 0)) {
      this.retryAt = performance.now() + RETRY_MS;
      this.open();
    }
  }
}

/** The freshness note in the top bar. `silent` is the first silent gateway's view, if any. */
export function showFreshness(line, silent = null) {
  const note = document.getElementById("freshness");
  const at = now();
  let state = line.state;
  let text;
  if (state === "lost") text = t("live.lost_short", { time: clock(line.lostAt ?? at, at) });
  else if (state === "connecting") text = t("live.connecting");
  else if (silent) {
    state = "silent";
    const gateway = silent.gateway_id;
    text = silent.received_at === null ? t("live.silent_never", { gateway }) : t("live.silent", { gateway, time: clock(silent.received_at, at) });
  } else text = t("live.on");
  if (note.dataset.state !== state) note.dataset.state = state;
  // the ticking time is not for screen readers: only a change of state is spoken
  if (!note.firstElementChild) note.replaceChildren(h("span"), h("span", { class: "ticking num", "aria-hidden": "true" }));
  setText(note.firstElementChild, text);
  setText(note.lastElementChild, state === "live" ? clockSeconds(at) : "");
}
