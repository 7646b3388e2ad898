const DAY_MS = 86_400_000;

const clockFace = new Intl.DateTimeFormat('en-US', {
  timeZone: 'America/Los_Angeles',
  hourCycle: 'h23',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});

/** The first midnight in Pacific time after `now`, both in milliseconds since 1970: when Gemini's daily quotas start anew. */
export function nextPacificMidnight(now: number): number {
  const guess = now + DAY_MS - sinceMidnight(now);
  // On a day of 23 or 25 hours the guess is an hour late or early.
  const off = sinceMidnight(guess);
  return off < DAY_MS / 2 ? guess - off : guess + DAY_MS - off;
}

/** Milliseconds that the clock on a wall there shows. */
function sinceMidnight(time: number): number {
  const [hours = 0, minutes = 0, seconds = 0] = clockFace.format(time).split(':').map(Number);
  return ((hours * 60 + minutes) * 60 + seconds) * 1000 + (((time % 1000) + 1000) % 1000);
}
