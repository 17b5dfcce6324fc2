#!/bin/sh
# Written by `quorate tune script`: does what `quorate tune apply` would do on the host it was written for.
#   sh FILE apply     sets what differs, and saves what was there
#   sh FILE undo      brings that back, where it still is as this script wrote it
# ROOT=DIR acts below DIR, to try it out.
set -u

root=${ROOT:-}
saved=$root/var/lib/quorate-tuning/script
failed=0

say() { printf '%s\n' "$*"; }
fail() { say "$*" >&2; failed=1; }

# A value of the kernel's: the one in brackets, or all words one space apart.
reading() {
  tr -s '[:space:]' ' ' <"$1" | sed -e 's/^ //' -e 's/ $//' -e 's/.*\[\(.*\)\].*/\1/'
}

# Whether every number of $2 stands to that of $3 as the rule $1 says.
compare() {
  printf '%s\n%s\n' "$2" "$3" | awk -v rule="$1" '
    NR == 1 { n = split($0, a, " ") }
    NR == 2 {
      if (split($0, b, " ") != n) exit 1
      for (i = 1; i <= n; i++) {
        if (a[i] !~ /^-?[0-9]+$/) exit 1
        if (rule == "-ge" && a[i] + 0 < b[i] + 0) exit 1
        if (rule == "-le" && a[i] + 0 > b[i] + 0) exit 1
      }
    }'
}

# Which start of the host this is.
start() {
  cat "$root/proc/sys/kernel/random/boot_id" 2>/dev/null || say -
}

# Whether the host has started since start $1, as far as is known.
restarted() {
  this=$(start)
  [ "${1:--}" != - ] && [ "$this" != - ] && [ "$1" != "$this" ]
}

# NAME RULE WANTED OTHER PATH KEPT: sets one value, unless it will do. KEPT sets it again when the host starts; - is nothing.
value() {
  file=$root$5
  [ -f "$file" ] || return 0
  old=$(reading "$file")
  [ "$old" = "$3" ] && return 0
  [ -n "$4" ] && [ "$old" = "$4" ] && return 0
  [ "$2" != = ] && compare "$2" "$old" "$3" && return 0
  printf '%s\t%s\t%s\t%s\t%s\n' "$5" "$old" "$3" "$(start)" "$6" >>"$saved/values" || exit 1
  if printf '%s\n' "$3" >"$file"; then say "$1: $5: $old -> $3"; else fail "$1: $5: failed"; fi
}

# PATH, content on standard input: makes or replaces one file.
whole() {
  mkdir -p "$(dirname "$saved/new$1")" "$(dirname "$saved/old$1")" "$(dirname "$root$1")" || exit 1
  if [ -f "$root$1" ] && ! { [ -f "$saved/new$1" ] && cmp -s "$root$1" "$saved/new$1"; }; then
    cp "$root$1" "$saved/old$1" || exit 1
  fi
  cat >"$saved/new$1" || exit 1
  if cp "$saved/new$1" "$root$1"; then say "$1: written"; else fail "$1: failed"; fi
}

undo() {
  [ -d "$saved" ] || { say "nothing to undo"; return; }
  tab=$(printf '\t')
  if [ -f "$saved/values" ]; then
    # The last first: what was set twice comes back to what it was before the first time.
    awk '{ line[NR] = $0 } END { for (i = NR; i > 0; i--) print line[i] }' "$saved/values" >"$saved/backwards"
    while IFS=$tab read -r path old new since kept; do
      now=$(reading "$root$path")
      if restarted "$since" && ! cmp -s "$root$kept" "$saved/new$kept"; then
        say "$path: left alone, the host has started since and reset it"
      elif [ "$now" = "$new" ]; then
        if printf '%s\n' "$old" >"$root$path"; then say "$path: $new -> $old"; else fail "$path: failed"; fi
      elif [ "$now" != "$old" ]; then
        say "$path: left alone, somebody has set it to $now since"
      fi
    done <"$saved/backwards"
  fi
  if [ -d "$saved/new" ]; then
    (cd "$saved/new" && find . -type f) >"$saved/files"
    while read -r path; do
      path=${path#.}
      if ! cmp -s "$root$path" "$saved/new$path"; then
        say "$path: left alone, somebody has changed it since"
      elif [ -f "$saved/old$path" ]; then
        if cp "$saved/old$path" "$root$path"; then say "$path: as before"; else fail "$path: failed"; fi
      else
        if rm "$root$path"; then say "$path: removed"; else fail "$path: failed"; fi
      fi
    done <"$saved/files"
  fi
  if [ "$failed" = 0 ]; then rm -r "$saved"; fi
}

apply() {
  mkdir -p "$saved" || exit 1
