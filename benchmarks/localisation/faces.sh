#!/bin/sh
# Faces of Caltech-101: the first 235 photos are train, the other 200 test, because photos of one person are neighbours.
#
#     benchmarks/localisation/faces.sh ../shared/data OUT
set -eu
shared=$1 out=$2
init=from:${WEIGHTS:-oxford-int8}
photos=$shared/caltech101/101_ObjectCategories
mkdir -p "$out"
tr -d '\r' < "$shared/caltech101-boxes/Faces.csv" |
    awk 'NR == 1 { print $0 ",subset"; next } { print $0 (NR <= 236 ? ",train" : ",test") }' > "$out/boxes.csv"
# one class: PCR and SCR are the same, and no classifier is needed
vggfeat localize fit "$out/boxes.csv" --images "$photos" --out "$out/pcr" --regression pcr --init "$init" \
    --finetune fc --scale 256
vggfeat localize evaluate "$out/boxes.csv" --images "$photos" --subset test --model "$out/pcr" --scales 256 \
    --out "$out/runs" --json "$out/faces.json" --report "$out/faces.html"
