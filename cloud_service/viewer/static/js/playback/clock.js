// Times in milliseconds since 1970: as addresses want them, as people read them, and where an axis has its marks.
export const SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

// For an address, to the microsecond.
export function iso(ms) {
  const whole = Math.floor(ms);
  const micro = Math.min(999, Math.round((ms - whole) * 1000));
  return new Date(whole).toISOString().replace("Z", `${String(micro).padStart(3, "0")}Z`);
}

// As addresses of pages have it, to the millisecond.
export const stamp = (ms) => iso(ms).replace(/\d{3}Z$/, "Z");

const usual = new Intl.DateTimeFormat(undefined, {
  weekday: "short", year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const short = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });

export const clockText = (ms) => usual.format(ms);
export const timeText = (ms) => short.format(ms);
export const dateText = (ms) => date.format(ms);

export function lengthText(ms) {
  if (ms < MINUTE) return `${Math.round(ms / SECOND)} s`;
  if (ms < 2 * HOUR) return `${Math.round(ms / MINUTE)} min`;
  return ms < 2 * DAY ? `${Math.round(ms / HOUR)} h` : `${Math.round(ms / DAY)} days`;
}

// What an input of type datetime-local holds.
export function localInput(ms) {
  const moved = new Date(ms - new Date(ms).getTimezoneOffset() * MINUTE);
  return moved.toISOString().slice(0, 19);
}

const hourMinute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const dayMonth = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
const monthYear = new Intl.DateTimeFormat(undefined, { month: "short", year: "numeric" });
const year = new Intl.DateTimeFormat(undefined, { year: "numeric" });
const STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((n) => ({ ms: n * SECOND, text: short })),
  ...[1, 2, 5, 10, 15, 30].map((n) => ({ ms: n * MINUTE, text: hourMinute })),
  ...[1, 2, 3, 6, 12].map((n) => ({ ms: n * HOUR, text: hourMinute })),
  ...[1, 2, 5].map((n) => ({ ms: n * DAY, days: n, text: dayMonth })),
  ...[1, 3, 6].map((n) => ({ ms: n * 30.4 * DAY, months: n, text: monthYear })),
  ...[1, 2, 5].map((n) => ({ ms: n * 365.25 * DAY, months: 12 * n, text: year })),
];

// Marks of an axis in the browser's time zone, `least` milliseconds apart: [time, text, whether a new day begins].
export function marks(from, to, least) {
  const step = STEPS.find((of) => of.ms >= least) ?? STEPS.at(-1);
  const found = [];
  const start = new Date(from);
  if (step.months) {
    const at = new Date(start.getFullYear(), Math.floor(start.getMonth() / step.months) * step.months, 1);
    if (step.months > 12) at.setFullYear(Math.floor(at.getFullYear() / (step.months / 12)) * (step.months / 12), 0, 1);
    for (; at.getTime() < to; at.setMonth(at.getMonth() + step.months)) found.push([at.getTime(), step.text.format(at), false]);
  } else if (step.days) {
    const at = new Date(start.getFullYear(), start.getMonth(), start.getDate() - (start.getDate() % step.days));
    for (; at.getTime() < to; at.setDate(at.getDate() + step.days)) found.push([at.getTime(), step.text.format(at), false]);
  } else {
    const midnight = new Date(start.getFullYear(), start.getMonth(), start.getDate()).getTime();
    let at = midnight + Math.floor((from - midnight) / step.ms) * step.ms;
    for (; at < to; at += step.ms) {
      const of = new Date(at);
      const first = of.getHours() + of.getMinutes() + of.getSeconds() === 0;
      found.push([at, first ? dayMonth.format(of) : step.text.format(of), first]);
    }
  }
  return found;
}
