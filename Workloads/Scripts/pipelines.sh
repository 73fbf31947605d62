# Pipelines over a text: words counted, lines rewritten and sorted, sums by awk, compressed and back.
set -e
text=$1
echo "lines $(wc -l <"$text"), words $(wc -w <"$text")"
tr -cs a-z '\n' <"$text" | sort | uniq -c | sort -k1,1rn -k2 | head -n 10
sed 's/[aeiou]/-/g' "$text" | grep -c -- '--'
awk '{ for (i = 1; i <= NF; i++) { letters += length($i); seen[$i]++ } }
    END { n = 0; for (word in seen) n++; print "letters", letters, "different", n }' "$text"
cut -d ' ' -f 2,3 "$text" | sort -u | head -n 200 | tail -n 3
gzip -c "$text" >/tmp/packed
gunzip -c /tmp/packed | cmp - "$text" && echo "the same after gzip and gunzip"
sort -r "$text" | sha256sum
rm /tmp/packed
