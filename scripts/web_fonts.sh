#!/bin/sh
# Brings the web fonts of the mixture (npm's @fontsource packages, all OFL) to a folder of fonts.
#
#   scripts/web_fonts.sh [FOLDER]     (default: ~/.local/share/fonts; needs npm)
set -eu
folder=${1:-$HOME/.local/share/fonts}
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for family in hanuman \
    battambang siemreap content nokora suwannaphum kantumruy kantumruy-pro chenla odor-mean-chey \
    kdam-thmor kdam-thmor-pro \
    angkor bayon koulen dangrek preahvihear taprom \
    koh-santepheap bokor moul moulpali fasthand freehand konkhmer-sleokchher; do
    npm pack --silent "@fontsource/$family" >/dev/null
    tar -xzf fontsource-"$family"-*.tgz --wildcards "package/files/$family-khmer-*-normal.woff"
    cp package/files/*.woff "$folder"
    rm -rf package fontsource-*.tgz
done
echo "$folder: $(find "$folder" -name '*-khmer-*-normal.woff' | wc -l) files"
