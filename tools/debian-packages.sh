#!/usr/bin/env bash
# What the test suite needs beside Python: installed where we may, named where we may not.
set -u
missing=()
[ -x /usr/sbin/mosquitto ] || command -v mosquitto >/dev/null || missing+=(mosquitto)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || missing+=(chromium)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
[ ${#missing[@]} -eq 0 ] && exit 0
if command -v apt-get >/dev/null; then
  if [ "$(id -u)" = 0 ]; then run=(); elif sudo -n true 2>/dev/null; then run=(sudo); else run=(none); fi
  if [ "${run[*]:-}" != none ]; then
    echo "installing ${missing[*]}"
    "${run[@]}" apt-get update -qq && DEBIAN_FRONTEND=noninteractive "${run[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null && exit 0
  fi
fi
echo "make test needs these programs: ${missing[*]}"
echo "On Debian or Raspberry Pi OS: sudo apt-get install ${missing[*]}"
exit 1
