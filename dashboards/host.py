"""The host by the USE method: utilisation, saturation and errors of CPU, memory, disk and network."""

from .parts import HALF, QUARTER, THIRD, Board, Limits, Q

NODE = 'job="node"'


def pressure(resource: str, kind: str, legend: str) -> Q:
    return Q(f"rate(node_pressure_{resource}_{kind}_seconds_total{{{NODE}}}[$__rate_interval])", legend)


def traffic(metric: str) -> str:
    return f"rate({metric}{{{NODE}}}[$__rate_interval])"


def board() -> Board:
    b = Board("host", "Host", "Utilisation, saturation and errors of the machine, and its backups.")

    b.row("Now")
    b.number(
        "CPU",
        "Share of the time that the CPUs are busy.",
        "percentunit",
        Q(f'1 - avg(rate(node_cpu_seconds_total{{{NODE}, mode="idle"}}[$__rate_interval]))', "busy"),
        Limits(amber=0.7, red=0.9),
    )
    b.number(
        "Memory available",
        "Memory that programs can still get, of all.",
        "percentunit",
        Q(f"node_memory_MemAvailable_bytes{{{NODE}}} / node_memory_MemTotal_bytes{{{NODE}}}", "available"),
        Limits(amber=0.2, red=0.1),
    )
    b.number(
        "Fullest disk",
        "Room left on the file system that has least of it.",
        "percentunit",
        Q(f"min(node_filesystem_avail_bytes{{{NODE}}} / node_filesystem_size_bytes{{{NODE}}})", "left"),
        Limits(amber=0.2, red=0.05),
    )
    b.number(
        "Newest backup",
        "Age of the newest backup. One is made every 15 minutes.",
        "s",
        Q("time() - comentarios_backup_last_success_timestamp_seconds", "age"),
        Limits(amber=1800, red=3600),
        empty="None yet",
    )
    b.number(
        "Out of memory",
        "Processes that the kernel killed for want of memory within the time range shown.",
        "short",
        Q(f"increase(node_vmstat_oom_kill{{{NODE}}}[$__range])", "kills"),
        Limits(amber=None, red=1),
    )
    b.number(
        "Up for",
        "Time since the host started.",
        "s",
        Q(f"node_time_seconds{{{NODE}}} - node_boot_time_seconds{{{NODE}}}", "up"),
    )

    b.row("CPU")
    b.graph(
        "CPU utilisation",
        "Share of all CPUs' time by what it went to. Steal is what the hypervisor gave to others.",
        "percentunit",
        Q(
            f'sum by (mode) (rate(node_cpu_seconds_total{{{NODE}, mode!="idle"}}[$__rate_interval]))'
            f' / scalar(count(node_cpu_seconds_total{{{NODE}, mode="idle"}}))',
            "{{mode}}",
        ),
        stacked=True,
        top=1,
        width=THIRD,
    )
    b.graph(
        "CPU saturation: load",
        "Processes that run or wait for a CPU or a disk, for each CPU. Above 1 somebody waits.",
        "none",
        Q(f'node_load1{{{NODE}}} / scalar(count(node_cpu_seconds_total{{{NODE}, mode="idle"}}))', "1 minute"),
        Q(f'node_load15{{{NODE}}} / scalar(count(node_cpu_seconds_total{{{NODE}, mode="idle"}}))', "15 minutes"),
        limits=Limits(None, 1),
        width=THIRD,
    )
    b.graph(
        "CPU saturation: pressure",
        "Share of the time in which some process waited for a CPU.",
        "percentunit",
        pressure("cpu", "waiting", "waiting"),
        width=THIRD,
    )

    b.row("Memory")
    b.graph(
        "Memory utilisation",
        "What the memory holds. Cache is given back when programs ask for more.",
        "bytes",
        Q(f"node_memory_MemTotal_bytes{{{NODE}}} - node_memory_MemAvailable_bytes{{{NODE}}}", "used"),
        Q(f"node_memory_MemAvailable_bytes{{{NODE}}} - node_memory_MemFree_bytes{{{NODE}}}", "cache"),
        Q(f"node_memory_MemFree_bytes{{{NODE}}}", "free"),
        stacked=True,
    )
    b.graph(
        "Memory saturation: pressure",
        "Share of the time in which some process, or every process, waited for memory.",
        "percentunit",
        pressure("memory", "waiting", "some"),
        pressure("memory", "stalled", "all"),
    )
    b.graph(
        "Swap",
        "Pages read from and written to swap in a second. Steady traffic means that memory is too small.",
        "ops",
        Q(traffic("node_vmstat_pswpin"), "in"),
        Q(traffic("node_vmstat_pswpout"), "out"),
        limits=Limits(None, 256),
    )
    b.graph(
        "Memory errors: kills",
        "Processes that the kernel killed for want of memory.",
        "short",
        Q(f"increase(node_vmstat_oom_kill{{{NODE}}}[$__rate_interval])", "kills"),
    )

    b.row("Disk")
    b.graph(
        "Disk utilisation: room",
        "Share of each file system that is used.",
        "percentunit",
        Q(
            f"1 - node_filesystem_avail_bytes{{{NODE}}} / node_filesystem_size_bytes{{{NODE}}}",
            "{{mountpoint}}",
        ),
        limits=Limits(amber=0.8, red=0.95),
        top=1,
    )
    b.graph(
        "Inodes",
        "Share of each file system's inodes that is used.",
        "percentunit",
        Q(
            f"1 - node_filesystem_files_free{{{NODE}}} / (node_filesystem_files{{{NODE}}} > 0)",
            "{{mountpoint}}",
        ),
        limits=Limits(amber=0.8, red=0.9),
        top=1,
    )
    b.graph(
        "Disk utilisation: time",
        "Share of the time in which the device had something to do.",
        "percentunit",
        Q(traffic("node_disk_io_time_seconds_total"), "{{device}}"),
    )
    b.graph(
        "Disk saturation: pressure",
        "Share of the time in which some process, or every process, waited for a disk.",
        "percentunit",
        pressure("io", "waiting", "some"),
        pressure("io", "stalled", "all"),
    )
    b.graph(
        "Disk traffic",
        "Bytes read and written in a second.",
        "Bps",
        Q(traffic("node_disk_read_bytes_total"), "{{device}} read"),
        Q(traffic("node_disk_written_bytes_total"), "{{device}} written"),
    )
    b.graph(
        "Disk saturation: time of an operation",
        "Average time of a read and of a write, waiting included.",
        "s",
        Q(
            f"{traffic('node_disk_read_time_seconds_total')} / ({traffic('node_disk_reads_completed_total')} > 0)",
            "{{device}} read",
        ),
        Q(
            f"{traffic('node_disk_write_time_seconds_total')} / ({traffic('node_disk_writes_completed_total')} > 0)",
            "{{device}} write",
        ),
    )

    b.row("Network")
    b.graph(
        "Network utilisation",
        "Bytes received and sent in a second; the containers' own bridges are left out.",
        "Bps",
        Q(traffic("node_network_receive_bytes_total"), "{{device}} in"),
        Q(traffic("node_network_transmit_bytes_total"), "{{device}} out"),
    )
    b.graph(
        "Network saturation: dropped packets",
        "Packets dropped in a second because a queue was full.",
        "pps",
        Q(traffic("node_network_receive_drop_total"), "{{device}} in"),
        Q(traffic("node_network_transmit_drop_total"), "{{device}} out"),
    )
    b.graph(
        "Network errors",
        "Damaged packets, and TCP segments that had to be sent again, in a second.",
        "pps",
        Q(traffic("node_network_receive_errs_total"), "{{device}} in"),
        Q(traffic("node_network_transmit_errs_total"), "{{device}} out"),
        Q(traffic("node_netstat_Tcp_RetransSegs"), "sent again"),
    )
    b.graph(
        "Network saturation: connections",
        "Share of the kernel's table of connections that is used. When it is full, new connections are dropped.",
        "percentunit",
        Q(
            f"node_nf_conntrack_entries{{{NODE}}} / node_nf_conntrack_entries_limit{{{NODE}}}",
            "table of connections",
        ),
        limits=Limits(None, 0.8),
    )

    b.row("Time and backups")
    b.graph(
        "Clock offset",
        "How far the time service finds the clock from the true time.",
        "s",
        Q(f"abs(node_timex_offset_seconds{{{NODE}}})", "offset"),
        limits=Limits(None, 0.05),
    )
    b.number(
        "Time service",
        "1 when the clock is kept by a time service, 0 when nothing keeps it.",
        "none",
        Q(f"node_timex_sync_status{{{NODE}}}", "synchronised"),
        Limits(amber=1, red=0.5),
        width=QUARTER,
        height=8,
    )
    b.number(
        "Backup size",
        "Size of the newest backup. A sudden drop is a reason to look.",
        "bytes",
        Q("comentarios_backup_size_bytes", "size"),
        width=QUARTER,
        height=8,
        empty="None yet",
    )
    b.graph(
        "Age of the newest backup",
        "A saw: rises to 15 minutes and falls.",
        "s",
        Q("time() - comentarios_backup_last_success_timestamp_seconds", "age"),
        limits=Limits(amber=1800, red=3600),
        width=HALF,
    )
    return b
