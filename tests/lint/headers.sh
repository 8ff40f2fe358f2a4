#!/bin/bash
# Each header compiles alone, as C.
set -eu
cc=${CC:-gcc} failed=0 count=0
for header in $(find common proto edge central tests -name '*.h'); do
	count=$((count + 1))
	$cc -std=c11 -Wall -Wextra -Werror -D_GNU_SOURCE -I. -I"${B:-build}/gen" -fsyntax-only -x c "$header" || failed=1
done
echo "headers: $count compile alone"
exit $failed
