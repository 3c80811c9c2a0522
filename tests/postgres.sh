#!/usr/bin/env bash
# PostgreSQL's programs for the store's tests, from Debian's packages where the machine has none and we may install.
# Without them the tests of that half skip with a reason.
set -u
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && exit 0
command -v initdb >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -qq --no-install-recommends postgresql >/dev/null
fi
exit 0
