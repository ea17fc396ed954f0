// What the rows say, and what stands against a file before its first byte is sent.

const UNITS = ['kB', 'MB', 'GB', 'TB'];

function formatSize(bytes) {
  let value = bytes / 1000, unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) [value, unit] = [value / 1000, unit + 1];
  const text = unit >= 2 && value < 99.95 ? value.toFixed(1).replace(/\.0$/, '') : Math.max(bytes ? 1 : 0, Math.round(value));
  return `${text} ${UNITS[unit]}`;
}

function formatSpeed(perSecond) {
  const value = perSecond / 1e6;
  return value >= 0.95 ? `${value < 9.95 ? value.toFixed(1).replace(/\.0$/, '') : Math.round(value)} MB/s`
    : `${Math.max(1, Math.round(perSecond / 1000))} kB/s`;
}

function formatLeft(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return `${whole} s left`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 10) return whole % 60 ? `${minutes} min ${whole % 60} s left` : `${minutes} min left`;
  if (minutes < 60) return `${minutes} min left`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min left`;
}

function formatLength(ms) {
  const minutes = Math.max(1, Math.ceil(ms / 60_000));
  if (minutes < 60) return `${minutes} min`;
  return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
}

const minutesOf = (ms) => Math.max(1, Math.ceil(ms / 60_000));
const sayMinutes = (count) => (count === 1 ? '1 minute is' : `${count} minutes are`);

function judgeFile({ size }, limits, durationMs) {
  const no = (code, message) => new Refusal(0, code, message);
  if (size === 0) return no('empty', 'The file is empty. Copy it again, then upload it.');
  if (limits.max_bytes && size > limits.max_bytes) {
    return no('too_large', `${formatSize(size)}; at most ${formatSize(limits.max_bytes)} fit. Split it and upload the parts.`);
  }
  if (limits.left_bytes !== null && size > limits.left_bytes) {
    return no('quota_bytes', `${formatSize(size)} are needed, ${formatSize(limits.left_bytes)} of your storage are left. Delete videos you no longer need.`);
  }
  if (limits.free_bytes !== null && size > limits.free_bytes) {
    return no('disk_full', `There is no room for ${formatSize(size)} now. Ask the administrator to make room.`);
  }
  if (durationMs === undefined) return undefined;
  if (limits.max_duration_ms && durationMs > limits.max_duration_ms + 1000) {
    return no('too_long', `${formatLength(durationMs)}; at most ${formatLength(limits.max_duration_ms)} fit. Split it and upload the parts.`);
  }
  if (limits.left_ms !== null && durationMs > limits.left_ms) {
    const left = Math.floor(limits.left_ms / 60_000);
    return no('quota_minutes', `${sayMinutes(minutesOf(durationMs))} needed, ${left} are left until ${limits.renews}.`);
  }
  return undefined;
}

const ACTIONS = { quota_bytes: 'See usage', quota_minutes: 'See usage', too_long: 'Choose files', too_large: 'Choose files' };
const nameAction = (row) => ACTIONS[row.code] ?? 'Upload again';

const percentOf = (row) => (row.size ? Math.min(100, Math.floor((100 * row.sent) / row.size)) : 0);

// The parts of the line below a bar; the first stands out.
function describeRow(row) {
  const percent = `${percentOf(row)} %`;
  switch (row.state) {
    case 'waiting': return [row.sent ? percent : '', 'Waiting for its turn'];
    case 'looking': return ['', 'Getting ready'];
    case 'sending': {
      const left = row.speed > 0 ? formatLeft((row.size - row.sent) / row.speed) : '';
      return [percent, row.speed > 0 ? formatSpeed(row.speed) : '', left];
    }
    case 'broken': return [percent, row.text];
    case 'paused': return [`Paused at ${percent}`];
    case 'absent': return [`Paused at ${percent}`, 'Choose the file again to go on'];
    default: return ['', row.text];
  }
}
