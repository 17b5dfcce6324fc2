# Performs tuning/three-hosts.md, inside namespaces that end with this shell. $HOME_DIR has page.toml and the scripts named below,
# which are that page's blocks with /srv/quorate for its two folders.
set -eu
cd "$HOME_DIR"
mount -t tmpfs none /run
mkdir /run/netns
mount -t tmpfs none /srv
mkdir /srv/quorate
addresses() { for n in 1 2 3; do echo "10.77.0.$n host$n"; echo "10.77.0.$n cell"; done; }
{ echo 127.0.0.1 localhost; addresses; echo 10.77.0.9 moving; } > hosts
mount --bind hosts /etc/hosts
ip link set lo up
ip link add cell0 type bridge
ip addr add 10.77.0.100/24 dev cell0
ip link set cell0 up
for n in 1 2 3; do
    ip netns add host$n
    ip link add veth$n type veth peer name eth0 netns host$n
    ip link set veth$n master cell0 up
    ip -n host$n addr add 10.77.0.$n/24 dev eth0
    ip -n host$n link set eth0 up
    ip -n host$n link set lo up
    # A setting of the kernel's that is too low, where `tune` looks for it.
    mkdir -p data$n/root/proc/sys/net/core
    echo 128 > data$n/root/proc/sys/net/core/somaxconn
    cp page.toml data$n/cell.toml
done

# on NUMBER SCRIPT: as a shell of that host does it.
on() {
    ip netns exec host$1 unshare --mount sh -c \
        "mount --bind '$HOME_DIR/data$1' /srv/quorate && export HOST=$1 && exec sh -eu '$HOME_DIR/$2'"
}

for n in 1 2 3; do
    for block in tune.sh each.sh unit.sh; do on $n $block; done
    test "$(cat data$n/root/proc/sys/net/core/somaxconn)" = 4096
done
echo tuned

# One host does what its unit says, with the paths that there are here; the others are started by hand.
{
    echo 'echo $$ > /srv/quorate/pid'
    sed -n 's/^ExecStartPre=//p; s/^ExecStart=/exec /p' data1/root/etc/systemd/system/quorate.service
} | sed 's,/usr/bin/quorate,quorate,; s,/etc/quorate/cell.toml,/srv/quorate/cell.toml,; s,/var/lib/quorate/,/srv/quorate/,' > by-unit.sh
test "$(grep -c '^quorate doctor \|^exec quorate start ' by-unit.sh)" = 2
on 1 by-unit.sh > replica1.log 2>&1 &
for n in 2 3; do
    on $n start.sh > replica$n.log 2>&1 &
done
sh -eu once.sh
echo performed
sh -eu whole.sh

status() { QUORATE_ENDPOINTS=cell:7400 quorate status --json; }

# All have their votes; they are told apart from those that only some have heard of when the log, in which they are written,
# stands still at the same slot everywhere. Whoever started this shell sees to it that it ends.
before=
while :; do
    seen=$(status) || seen=
    votes=$(echo "$seen" | grep -o '"votes":true' | wc -l)
    slots=$(echo "$seen" | grep -o '"applied_upto":[0-9]*') || slots=
    if [ "$votes" = 3 ] && [ "$(echo "$slots" | sort -u | wc -l)" = 1 ] && [ "$slots" = "$before" ]; then
        break
    fi
    before=$slots
    sleep 0.2
done

# The leader's host is gone from the network, and its processes with it. What each replica takes for the leader is not asked.
leader=$(status | sed -n 's/"replicas".*//; s/.*"leader": *\([0-9]\).*/\1/p')
if [ -z "$leader" ]; then
    status >&2
    exit 3
fi
ip link set veth$leader down
kill -9 "$(cat data$leader/pid)"
sh -eu after.sh
echo "survived the loss of host $leader"

# A name that leads nowhere when the client begins, and to a host that serves a moment later.
quorate get --timeout 20s --endpoints moving:7400 /greeting > moved 2> moved.err &
getter=$!
sleep 2
# In place: the file is bound to another name.
{ echo 127.0.0.1 localhost; addresses; echo "10.77.0.$((leader % 3 + 1)) moving"; } > hosts
wait $getter || { cat moved.err >&2; exit 4; }
test "$(cat moved)" = 'still here'
echo looked up again
