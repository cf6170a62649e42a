// Asking the server: answers as JSON, errors as their one line, and a full desk is asked again when it says so.

export class Refusal extends Error {}

const TRIES = 3;

export async function ask(address, { body, signal } = {}) {
  const asked = body === undefined ? { signal } : {
    method: "POST", signal,
    headers: { "content-type": body instanceof Blob ? "application/octet-stream" : "application/json" },
    body: body instanceof Blob ? body : JSON.stringify(body),
  };
  for (let attempt = 1; ; attempt += 1) {
    const answer = await fetch(address, asked);
    if (answer.ok) return answer.json();
    const { error } = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
    if (answer.status !== 503 || attempt === TRIES) throw new Refusal(error);
    const seconds = Number(answer.headers.get("retry-after")) || 2;
    await new Promise((resolve) => { setTimeout(resolve, 1000 * seconds); });
  }
}
