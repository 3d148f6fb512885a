"""The dashboard of the host, by the USE method: utilisation, saturation and errors of each resource."""

from .panels import FULL, HOST, QUARTER, THIRD, Board, Limits, Query, Word

NODE = f'job="node", {HOST}'
CPUS = f'count by (host) (node_cpu_seconds_total{{{NODE}, mode="idle"}})'
BACKUP_AGE = Query(f"time() - comentarios_backup_last_success_timestamp_seconds{{{HOST}}}", "age")


def pressure(resource: str, kind: str, legend: str) -> Query:
    return Query(f"rate(node_pressure_{resource}_{kind}_seconds_total{{{NODE}}}[$__rate_interval])", legend)


def traffic(metric: str) -> str:
    return f"rate({metric}{{{NODE}}}[$__rate_interval])"


def certificate(b: Board, width: int, height: int = 4) -> None:
    b.number(
        "Certificate",
        "Time until the certificate expires. certbot renews it 30 days before.",
        "s",
        Query(f"comentarios_certificate_expiry_timestamp_seconds{{{HOST}}} - time()", "{{domain}}"),
        Limits.of("CertificateExpiring", 28 * 86400),
        width=width,
        height=height,
        empty=Word("No domain"),
        alerts=("CertificateInvalid",),
    )


def cpu(b: Board, link: str = "") -> None:
    b.number(
        "CPU",
        "Share of the time in which the CPUs are busy.",
        "percentunit",
        Query(f'1 - avg by (host) (rate(node_cpu_seconds_total{{{NODE}, mode="idle"}}[$__rate_interval]))', "busy"),
        Limits(amber=0.7, red=0.9),
        link=link,
    )


def memory(b: Board, link: str = "") -> None:
    b.number(
        "Memory available",
        "Share of the memory that programs can still get.",
        "percentunit",
        Query(f"node_memory_MemAvailable_bytes{{{NODE}}} / node_memory_MemTotal_bytes{{{NODE}}}", "available"),
        Limits.of("MemoryLow", 0.2),
        link=link,
    )


def fullest_disk(b: Board, link: str = "") -> None:
    b.number(
        "Fullest disk",
        "Free space on the fullest file system.",
        "percentunit",
        Query(f"min by (host) (node_filesystem_avail_bytes{{{NODE}}} / node_filesystem_size_bytes{{{NODE}}})", "left"),
        Limits.of("DiskFull", 0.2),
        link=link,
    )


def newest_backup(b: Board, link: str = "") -> None:
    b.number(
        "Newest backup",
        "Age of the newest backup. One is made every 15 minutes.",
        "s",
        BACKUP_AGE,
        Limits.of("BackupTooOld", 1800),
        empty=Word("None yet", "orange"),
        link=link,
        alerts=("BackupNeverMade",),
    )


def board() -> Board:
    b = Board("host", "Host", "Utilisation, saturation and errors of the host, and its backups.")

    b.row("Now", "all green, and a backup younger than half an hour.")
    cpu(b)
    memory(b)
    fullest_disk(b)
    newest_backup(b)
    b.number(
        "Out of memory",
        "Processes that the kernel killed because memory ran out, within the dashboard's time range.",
        "short",
        Query(f"increase(node_vmstat_oom_kill{{{NODE}}}[$__range])", "kills"),
        Limits(amber=None, red=1),
        alerts=("OomKill",),
    )
    b.number(
        "Uptime",
        "Time since the host started.",
        "s",
        Query(f"node_time_seconds{{{NODE}}} - node_boot_time_seconds{{{NODE}}}", "up"),
    )

    b.row("CPU", "below 70 %, load below 1 per CPU, no steal.")
    b.graph(
        "CPU utilisation",
        "Share of all CPUs' time, by mode. Steal is time that the hypervisor gave to others.",
        "percentunit",
        Query(
            f'sum by (host, mode) (rate(node_cpu_seconds_total{{{NODE}, mode!="idle"}}[$__rate_interval]))'
            f" / on (host) group_left () {CPUS}",
            "{{mode}}",
            ("iowait", "irq", "nice", "softirq", "steal", "system", "user"),
        ),
        stacked=True,
        top=1,
        width=THIRD,
        alerts=("CpuSteal",),
    )
    b.graph(
        "CPU saturation: load",
        "Processes per CPU that run, or wait for a CPU or a disk. Above 1, some wait.",
        "none",
        Query(f"node_load1{{{NODE}}} / on (host) {CPUS}", "1 minute"),
        Query(f"node_load15{{{NODE}}} / on (host) {CPUS}", "15 minutes"),
        limits=Limits(None, 1),
        width=THIRD,
    )
    b.graph(
        "CPU saturation: pressure",
        "Share of the time in which some process waited for a CPU.",
        "percentunit",
        pressure("cpu", "waiting", "some wait"),
        width=THIRD,
    )

    b.row("Memory", "a fifth is available, no pressure, no steady swapping, no kills.")
    b.graph(
        "Memory utilisation",
        "Use of the memory. Programs that need more get the cache's.",
        "bytes",
        Query(f"node_memory_MemTotal_bytes{{{NODE}}} - node_memory_MemAvailable_bytes{{{NODE}}}", "used"),
        Query(f"node_memory_MemAvailable_bytes{{{NODE}}} - node_memory_MemFree_bytes{{{NODE}}}", "cache"),
        Query(f"node_memory_MemFree_bytes{{{NODE}}}", "free"),
        stacked=True,
    )
    b.graph(
        "Memory saturation: pressure",
        "Share of the time in which some process, or every process, waited for memory.",
        "percentunit",
        pressure("memory", "waiting", "some wait"),
        pressure("memory", "stalled", "all wait"),
    )
    b.graph(
        "Swap",
        "Pages per second read from and written to swap. Steady traffic means that memory is too small.",
        "ops",
        Query(traffic("node_vmstat_pswpin"), "in"),
        Query(traffic("node_vmstat_pswpout"), "out"),
        limits=Limits.of("Swapping"),
        width=FULL,
    )

    b.row("Disk", "below 80 % of space and inodes, pressure near 0.")
    b.graph(
        "Disk utilisation: space",
        "Used share of each file system.",
        "percentunit",
        Query(
            f"1 - node_filesystem_avail_bytes{{{NODE}}} / node_filesystem_size_bytes{{{NODE}}}",
            "{{mountpoint}}",
            ("/", "/var/lib/comentarios", "/var/lib/docker"),
        ),
        limits=Limits.of("DiskFull", 0.8, inverted=True),
        top=1,
        alerts=("DiskWillFill",),
    )
    b.graph(
        "Inodes",
        "Used share of each file system's inodes.",
        "percentunit",
        Query(
            f"1 - node_filesystem_files_free{{{NODE}}} / (node_filesystem_files{{{NODE}}} > 0)",
            "{{mountpoint}}",
            ("/", "/var/lib/comentarios", "/var/lib/docker"),
        ),
        limits=Limits.of("InodesLow", 0.8, inverted=True),
        top=1,
    )
    b.graph(
        "Disk utilisation: time",
        "Share of the time in which the device was busy.",
        "percentunit",
        Query(traffic("node_disk_io_time_seconds_total"), "{{device}}", ("sda", "nvme1n1")),
    )
    b.graph(
        "Disk saturation: pressure",
        "Share of the time in which some process, or every process, waited for a disk.",
        "percentunit",
        pressure("io", "waiting", "some wait"),
        pressure("io", "stalled", "all wait"),
    )
    b.graph(
        "Disk traffic",
        "Bytes read and written per second.",
        "Bps",
        Query(traffic("node_disk_read_bytes_total"), "{{device}} read", ("sda read", "nvme1n1 read")),
        Query(traffic("node_disk_written_bytes_total"), "{{device}} written", ("sda written", "nvme1n1 written")),
    )
    b.graph(
        "Disk saturation: time of an operation",
        "Average time of a read and of a write, including the wait.",
        "s",
        Query(
            f"{traffic('node_disk_read_time_seconds_total')} / ({traffic('node_disk_reads_completed_total')} > 0)",
            "{{device}} read",
            ("sda read", "nvme1n1 read"),
        ),
        Query(
            f"{traffic('node_disk_write_time_seconds_total')} / ({traffic('node_disk_writes_completed_total')} > 0)",
            "{{device}} write",
            ("sda write", "nvme1n1 write"),
        ),
    )

    b.row("Network", "no packets dropped or damaged.")
    b.graph(
        "Network utilisation",
        "Bytes received and sent per second, without the containers' bridges.",
        "Bps",
        Query(traffic("node_network_receive_bytes_total"), "{{device}} in", ("eth0 in",)),
        Query(traffic("node_network_transmit_bytes_total"), "{{device}} out", ("eth0 out",)),
    )
    b.graph(
        "Network saturation: dropped packets",
        "Packets per second dropped because a queue was full.",
        "pps",
        Query(traffic("node_network_receive_drop_total"), "{{device}} in", ("eth0 in",)),
        Query(traffic("node_network_transmit_drop_total"), "{{device}} out", ("eth0 out",)),
    )
    b.graph(
        "Network errors",
        "Damaged packets and retransmitted TCP segments per second.",
        "pps",
        Query(traffic("node_network_receive_errs_total"), "{{device}} in", ("eth0 in",)),
        Query(traffic("node_network_transmit_errs_total"), "{{device}} out", ("eth0 out",)),
        Query(traffic("node_netstat_Tcp_RetransSegs"), "retransmitted"),
    )
    b.graph(
        "Network saturation: connections",
        "Used share of the kernel's connection table. When it is full, new connections are dropped.",
        "percentunit",
        Query(
            f"node_nf_conntrack_entries{{{NODE}}} / node_nf_conntrack_entries_limit{{{NODE}}}",
            "connection table",
        ),
        limits=Limits.of("ConnectionTrackingFull"),
    )

    b.row(
        "Backups, certificate, data and time",
        "a backup every 15 minutes, weeks until the certificate expires, a clock within 50 ms.",
    )
    b.graph(
        "Clock offset",
        "Difference between the clock and the time service.",
        "s",
        Query(f"abs(node_timex_offset_seconds{{{NODE}}})", "offset"),
        limits=Limits.of("ClockSkew"),
    )
    b.number(
        "Time service",
        "Whether a time service sets the clock. A host in a container has its machine's.",
        "none",
        Query(f"node_timex_sync_status{{{NODE}}}", "synchronised"),
        words={1: Word("synchronised", "green"), 0: Word("not synchronised")},
        alerts=("ClockUnsynchronised",),
        width=QUARTER,
        height=8,
    )
    certificate(b, QUARTER, 8)
    b.graph(
        "Age of the newest backup",
        "Rises to 15 minutes and falls to 0 at each backup.",
        "s",
        BACKUP_AGE,
        limits=Limits.of("BackupTooOld", 1800),
        alerts=("TextfileBroken",),
    )
    b.number(
        "Backup size",
        "Size of the newest backup. Find the reason for a sudden drop.",
        "bytes",
        Query(f"comentarios_backup_size_bytes{{{HOST}}}", "size"),
        width=QUARTER,
        height=8,
        empty=Word("None yet", "orange"),
    )
    b.number(
        "Data volume growth",
        "Growth of the data volume per day, at the rate of the last six hours.",
        "bytes",
        Query(f'-86400 * deriv(node_filesystem_avail_bytes{{{NODE}, mountpoint="/var/lib/comentarios"}}[6h])', "daily"),
        width=QUARTER,
        height=8,
        empty=Word("No data volume"),
        alerts=("DataVolumeWillFill",),
    )
    return b
