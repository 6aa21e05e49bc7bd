import ProcessSupport
import TestSupport
import Testing

/// How many cores a process may use.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ProcessorTests {
    @Test func listsOfCores() {
        #expect(ProcessorCores(list: "0")?.numbers == [0])
        #expect(ProcessorCores(list: "8,0-3,2")?.numbers == [0, 1, 2, 3, 8])
        for bad in ["", "a", "3-1", "1,", "-1", "1-2-3", "0-8192", "0x1"] { #expect(ProcessorCores(list: bad) == nil) }
    }

    @Test func thisProcessMayRunSomewhere() {
        #expect(!ProcessorCores.allowed.numbers.isEmpty)
        #expect((1...ProcessorCores.allowed.numbers.count).contains(ProcessorCores.usableCount))
        // A thread may be kept where it is allowed anyway, and nowhere that does not exist.
        #expect(ProcessorCores.allowed.keepThreadHere())
        #expect(ProcessorCores(list: "8191")?.keepThreadHere() == false)
    }

    @Test(arguments: [
        // Version 2: the tightest of the group and those above it.
        (groups: "0::/a/b\n", files: ["/sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"], quota: 1.5 as Double?),
        ("0::/a/b\n", ["/sys/fs/cgroup/a/b/cpu.max": "max 100000\n", "/sys/fs/cgroup/a/cpu.max": "50000 100000"], 0.5),
        ("0::/a\n", ["/sys/fs/cgroup/a/cpu.max": "max 100000\n"], nil),
        // In a container the path is one of the host, and the root is the container's.
        ("0::/../../x\n", ["/sys/fs/cgroup/cpu.max": "200000 100000"], 2),
        // Version 1.
        (
            "4:memory:/m\n1:cpu,cpuacct:/c\n0::/\n",
            [
                "/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us": "300000\n",
                "/sys/fs/cgroup/cpu/c/cpu.cfs_period_us": "100000\n",
            ], 3
        ),
        (
            "1:cpu:/\n",
            ["/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"],
            nil
        ),
        (
            "1:cpuset:/\n", ["/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "1", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "1"],
            nil
        ),
        // Nothing that can be read, and rubbish.
        ("", [:], nil), ("0::/a\n", [:], nil), ("rubbish\n0::\n", ["/sys/fs/cgroup/cpu.max": "0 0 0"], nil),
    ])
    func quotasOfControlGroups(_ example: (groups: String, files: [String: String], quota: Double?)) {
        #expect(ControlGroup.processorQuota(groups: example.groups) { example.files[$0] } == example.quota)
    }
}
