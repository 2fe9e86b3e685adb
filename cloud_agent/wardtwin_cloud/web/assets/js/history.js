// The past of a device: its power in buckets and its states, for the span a chart shows.
import { now } from "./line.js";

/** The last `device.range_s` seconds in about `points` buckets: {from, to, bucket, buckets, intervals: {told, shown}}. */
export async function load(device, points) {
  const to = now();
  const whole = await loadSpan(device, points, to - device.range_s, to);
  // a device that has just begun to report is not shown as a speck at the end of an empty hour
  const first = whole.buckets[0]?.bucket_start;
  if (first === undefined || first - whole.from < device.range_s * 0.1 || whole.intervals.told.some((row) => row.since < whole.from)) return whole;
  const span = Math.max((to - first) * 1.05, 60);
  return loadSpan(device, points, to - span, to);
}

async function loadSpan(device, points, from, to) {
  const span = `from=${from}&to=${to}`;
  const get = async (what) => {
    const answer = await fetch(`/api/v1/devices/${encodeURIComponent(device.device_id)}/${what}`);
    if (!answer.ok) throw new Error(`${answer.status}`);
    return answer.json();
  };
  const states = get(`states?${span}`);
  states.catch(() => {}); // heard of where it is awaited
  let figures = null;
  // a day and more from the minutes' summaries, where there are any
  if (to - from >= 86400) figures = await get(`summaries?${span}&points=${points}`);
  if (!figures?.buckets.length) figures = await get(`readings?${span}&points=${points}`);
  return { from, to, bucket: figures.bucket_s, buckets: figures.buckets, intervals: intervals((await states).states, figures.buckets, figures.bucket_s, from, to, device.stale_after_s) };
}

/** State intervals within [from, to]; where no reading came for longer than the stale limit, the state is not known. */
function intervals(states, buckets, bucket, from, to, staleAfter) {
  const told = states.map((row) => ({ state: row.state, reason: row.reason, from: Math.max(row.since, from), to: Math.min(row.until ?? to, to), since: row.since, until: row.until }))
    .filter((row) => row.to > row.from);
  const limit = Math.max(staleAfter, 2 * bucket);
  const ends = [from - limit - 1, ...buckets.map((one) => one.bucket_start + bucket)];
  const starts = [...buckets.map((one) => one.bucket_start), to];
  const gaps = starts.map((start, n) => ({ from: Math.max(ends[n], from), to: start })).filter((gap, n) => starts[n] - ends[n] > limit && gap.to > gap.from);
  const cut = [];
  for (const row of told) {
    let at = row.from;
    for (const gap of gaps) {
      if (gap.to <= at || gap.from >= row.to) continue;
      if (gap.from > at) cut.push({ ...row, from: at, to: gap.from });
      at = Math.min(gap.to, row.to);
    }
    if (at < row.to) cut.push({ ...row, from: at, to: row.to });
  }
  return { told, shown: [...cut, ...gaps.map((gap) => ({ ...gap, state: "unknown" }))].sort((a, b) => a.from - b.from) };
}
