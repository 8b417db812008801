#!/usr/bin/env bash
# Installs the browser in which tests/report looks at pages, where it may; without it those tests are skipped, and say so.
source "$(dirname "$0")/common.sh"
install_optional reports chromium
