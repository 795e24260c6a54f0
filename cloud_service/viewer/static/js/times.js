// Times as the person who looks has them: the server writes UTC, which stays in the title.
const format = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

// Shows the times inside an element in the browser's zone.
export function showLocalTimes(element) {
  for (const time of element.querySelectorAll("time[datetime]:not([title])")) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    time.title = time.textContent.trim();
    time.textContent = format.format(date);
  }
}
