#!/bin/sh
# npu-smi of an emulated node. The emulator writes the table file; this prints the parts for the chips that the
# container may see: those in ASCEND_VISIBLE_DEVICES, all when it is not set. Shell built-ins only: any image runs it.
# A line of the table file: <part> <chip or *> <text>, see smi.py.

table="${ASCEND_EMULATOR_DATA:-/var/lib/ascend-emulator}/table"

usage() {
    printf '%s\n' \
        'Usage: npu-smi <Command|-h|-v> [Options...]' \
        '' \
        'npu-smi Command:' \
        '        -h, --help     Show this help text and exit' \
        '        -v, --version  Show npu-smi version information' \
        '        info           Show the table of chips and processes' \
        '        info -l        List the chips' \
        '        info -h        Show the help text of info'
}

info_usage() {
    printf '%s\n' \
        'Usage: npu-smi info [-h|-l]' \
        '' \
        'Commands:' \
        '       -h, --help     Show this help text and exit' \
        '       -l             List the chips' \
        '' \
        'This is an emulated NPU: other commands of the real tool are not there.'
}

# Sets $visible to " 0 1 3 " from "0,1,3", "0-3" or "Ascend910-0,Ascend910-1".
read_visible() {
    visible=' '
    rest="$ASCEND_VISIBLE_DEVICES,"
    while [ -n "$rest" ]; do
        entry="${rest%%,*}"
        rest="${rest#*,}"
        case "$entry" in
            *[!0-9-]*) entry="${entry##*-}" ;;
        esac
        last="${entry#*-}"
        entry="${entry%%-*}"
        case "$entry$last" in
            '' | *[!0-9]* | ?????????*) continue ;;
        esac
        while [ "$entry" -le "$last" ] && [ "$entry" -lt 4096 ]; do
            visible="$visible$entry "
            entry=$((entry + 1))
        done
    done
}

is_visible() {
    [ -z "${ASCEND_VISIBLE_DEVICES+set}" ] && return 0
    case "$visible" in
        *" $1 "*) return 0 ;;
    esac
    return 1
}

# Prints the lines of the given parts that belong to visible chips or to none.
show() {
    while IFS= read -r line; do
        part="${line%% *}"
        line="${line#* }"
        chip="${line%% *}"
        case "$1" in
            *"$part"*) ;;
            *) continue ;;
        esac
        if [ "$chip" = '*' ] || is_visible "$chip"; then
            printf '%s\n' "${line#* }"
        fi
    done <"$table"
}

count_chips() {
    count=0
    while IFS= read -r line; do
        case "$line" in
            'I '*'NPU ID'*) chip="${line#I }" && is_visible "${chip%% *}" && count=$((count + 1)) ;;
        esac
    done <"$table"
}

need_table() {
    if [ ! -r "$table" ]; then
        echo "npu-smi: $table cannot be read: is the emulator's DaemonSet running on this node?" >&2
        exit 1
    fi
    [ -n "${ASCEND_VISIBLE_DEVICES+set}" ] && read_visible
    count_chips
    if [ "$count" -eq 0 ]; then
        echo "npu-smi: no chip of this node is in ASCEND_VISIBLE_DEVICES='$ASCEND_VISIBLE_DEVICES'" >&2
        exit 1
    fi
}

case "$#:$1:$2" in
    1:-h: | 1:--help:) usage ;;
    1:-v: | 1:--version:) need_table && show V ;;
    1:info:) need_table && show TCMP ;;
    2:info:-l) need_table && printf '\t%-31s: %s\n' 'Total Count' "$count" && show I ;;
    2:info:-h | 2:info:--help) info_usage ;;
    *:info:*) info_usage && exit 1 ;;
    *) usage && exit 1 ;;
esac
