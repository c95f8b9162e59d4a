#!/bin/sh
# Fit PCR and SCR on frozen convolutions, a classification head on the same photos, and evaluate both protocols.
#
#     benchmarks/localisation/run.sh DATA SUBSET OUT
#
# DATA: as vggfeat localize fit takes it. SUBSET: what is evaluated, test or val. OUT: a folder for all that is made; the
# same command continues a run that was killed. $WEIGHTS: net E's convolutions; default: those inside the package. $BATCH: 32.
set -eu
data=$1 subset=$2 out=$3
batch=${BATCH:-32}
init=from:${WEIGHTS:-oxford-int8}
mkdir -p "$out"
for regression in pcr scr; do
    vggfeat localize fit "$data" --out "$out/$regression" --regression $regression --init "$init" \
        --finetune fc --scale 256 --batch "$batch" --cache-dir "$out/maps"
done
vggfeat train --data "$data" --out "$out/classes" --net auto --init "$init" --finetune fc --scale 256 --draws 8 \
    --fill scaled --dropout 0.2 --batch "$batch" --cache-dir "$out/maps"
vggfeat localize evaluate "$data" --subset "$subset" --model "$out/pcr" --classifier "$out/classes" \
    --scales 256 --out "$out/runs" --json "$out/pcr.json" --report "$out/pcr.html"
vggfeat localize evaluate "$data" --subset "$subset" --model "$out/scr" --classifier "$out/classes" \
    --scales 256 --out "$out/runs" --json "$out/scr.json" --report "$out/scr.html"
for table in 8 9; do
    vggfeat localize evaluate --runs "$out/runs" --table $table | tee "$out/table-$table.txt"
done
