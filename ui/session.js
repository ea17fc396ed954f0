// Tells the server to set or remove the login cookie, which no script can touch, and reports what it answered.
export default function ({ parentElement, data, setTriggerValue }) {
  if (!data || parentElement.__sent === data.n) return;
  parentElement.__sent = data.n;
  const send = async (triesLeft) => {
    try {
      const answer = await fetch("/auth/session", {
        method: data.ticket ? "POST" : "DELETE",
        headers: { "X-App": "1" },
        body: data.ticket || undefined,
        cache: "no-store",
      });
      setTriggerValue("answer", { n: data.n, status: answer.status });
    } catch {
      if (triesLeft) setTimeout(() => send(triesLeft - 1), 1000);
      else setTriggerValue("answer", { n: data.n, status: 0 });
    }
  };
  send(10);
}
