#!/usr/bin/env bash
# Install the real peers that the tests talk to, from Debian's own archive. Needs root.
set -euo pipefail

# program that must be there = package that brings it
peers=(
    mosquitto=mosquitto
    mosquitto_pub=mosquitto-clients
    influxd=influxdb
    victoria-metrics=victoria-metrics
    mbpoll=mbpoll
    swupdate=swupdate
    cpio=cpio
    openssl=openssl
    chromium=chromium
    psql=postgresql
    make=make
    git=git
    python3=python3
)
PATH="$PATH:/usr/sbin:/usr/local/sbin"

packages=()
for peer in "${peers[@]}"; do
    command -v "${peer%%=*}" >/dev/null || packages+=("${peer#*=}")
done
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)

if ((${#packages[@]} == 0)); then
    exit 0
fi
echo "Installing: ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    # Debian would start the servers at once; the tests start their own.
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
