# Many small processes: a tree of files made, searched, changed and removed, a program or more for each step.
set -e
count=$1
mkdir /tmp/tree
cd /tmp/tree
i=0
while [ $i -lt "$count" ]; do
    folder=d$(expr $i % 8 + 1)
    [ -d $folder ] || mkdir $folder
    seq $i $(expr $i + 20) | tr '\n' ' ' >$folder/f$i
    i=$(expr $i + 1)
done
find . -type f | wc -l
find . -name 'f*[05]' -exec basename {} \; | sort | head -n 5
find . -type f | sort | xargs -n 4 cat | wc -c
for folder in $(ls); do
    echo "$folder $(ls $folder | wc -l) $(cat $folder/* | awk '{ for (i = 1; i <= NF; i++) sum += $i } END { print sum }')"
done
i=0
while [ $i -lt "$count" ]; do
    mv d$(expr $i % 8 + 1)/f$i f$i
    (exit $(expr $i % 3 + 1)) || echo "status $?" >>statuses
    i=$(expr $i + 4)
done
sort statuses | uniq -c
ls | sort | xargs ls -d | sha256sum
cd /
rm -r /tmp/tree
