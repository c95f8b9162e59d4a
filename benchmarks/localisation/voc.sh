#!/bin/sh
# voc-mini: fit on the largest object of each photo, evaluate, predict the photos of a folder, and draw their boxes.
#
#     benchmarks/localisation/voc.sh ../shared/data/voc-mini/VOCdevkit OUT
set -eu
data=$1 out=$2
BATCH=8 "$(dirname "$0")/run.sh" "$data" val "$out"
vggfeat localize predict "$out/pcr" "$data/VOC2012/JPEGImages" --classifier "$out/classes" --scales 256 \
    --draw "$out/drawn" --truth "$data" --csv "$out/boxes.csv" --json "$out/boxes.json"
