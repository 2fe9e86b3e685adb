// Numbers, times and ages as the hospital reads them. Times in its zone, numbers with tabular spaces between thousands.
import { context, t } from "./page.js";

const zone = context.time_zone;
const clockFormat = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const secondsFormat = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const dayFormat = new Intl.DateTimeFormat("en-GB", { timeZone: zone, day: "numeric", month: "short" });
const dateFormat = new Intl.DateTimeFormat("sv-SE", { timeZone: zone });
const thin = "\u202f";

export function clock(at, now) {
  const then = new Date(at * 1000);
  const date = dateFormat.format(then);
  const today = dateFormat.format(new Date(now * 1000));
  if (date === today) return clockFormat.format(then);
  if (date.slice(0, 4) === today.slice(0, 4)) return `${dayFormat.format(then)} ${clockFormat.format(then)}`;
  return `${date} ${clockFormat.format(then)}`;
}

export function clockSeconds(at) {
  return secondsFormat.format(new Date(at * 1000));
}

/** 2026-11-21 14:02:33 in the hospital's zone. */
export function dateAndTime(at) {
  return `${dateFormat.format(new Date(at * 1000))} ${clockSeconds(at)}`;
}

export function age(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return t("age.seconds", { n: whole });
  if (whole < 3600) return t("age.minutes", { n: Math.floor(whole / 60) });
  if (whole < 48 * 3600) return t("age.hours", { n: Math.floor(whole / 3600) });
  return t("age.days", { n: Math.floor(whole / 86400) });
}

/** 1 h 05 min, 12 min, 40 s. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  const minutes = Math.floor((whole % 3600) / 60);
  if (whole < 48 * 3600) return `${Math.floor(whole / 3600)} h ${String(minutes).padStart(2, "0")} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

function grouped(text) {
  const [whole, part] = text.split(".");
  const spaced = whole.replace(/\B(?=(\d{3})+(?!\d))/g, thin);
  return part === undefined ? spaced : `${spaced}.${part}`;
}

export function power(value) {
  return grouped(Math.abs(value) < 100 ? value.toFixed(1) : value.toFixed(0));
}

const DIGITS = {
  active_power_w: null, voltage_v: 1, current_a: 3, power_factor: 2, frequency_hz: 2, energy_wh: 1, peak_current_a: 2,
  temperature_c: 1, relative_humidity_pct: 0, pressure_hpa: 0, voc_index: 0, co2_ppm: 0, formaldehyde_ppb: 0,
  pm1_ug_m3: 0, pm2_5_ug_m3: 0, pm10_ug_m3: 0,
};

/** A measure as [number, unit]. */
export function measured(name, value) {
  const digits = DIGITS[name];
  return [digits === null ? power(value) : grouped(value.toFixed(digits ?? 1)), t(`unit.${name}`)];
}

/** The same in one string, the two held together by a narrow no-break space. */
export function measure(name, value) {
  return measured(name, value).filter(Boolean).join(thin);
}
