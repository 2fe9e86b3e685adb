// Fresh facts every two seconds; when the gateway does not answer, the page says so instead of looking alive.
const facts = document.getElementById("facts");
const stale = document.getElementById("stale");
const since = document.getElementById("since");
let last = new Date();
async function refresh() {
  try {
    const answer = await fetch("/?part", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(answer.status);
    const text = await answer.text();
    if (!getSelection().toString()) facts.innerHTML = text;
    last = new Date();
    stale.hidden = true;
  } catch {
    since.textContent = last.toLocaleTimeString();
    stale.hidden = false;
  }
  setTimeout(refresh, 2000);
}
setTimeout(refresh, 2000);
