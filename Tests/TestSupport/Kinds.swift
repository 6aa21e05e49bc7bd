public import Testing

/// What a suite takes. Every suite has one of these tags (`scripts/suites --check`).
extension Tag {
    /// It starts no process and takes little. `make test-fast` runs these.
    @Tag public static var fast: Self
    /// It starts processes.
    @Tag public static var cluster: Self
    /// It takes minutes of computing.
    @Tag public static var slow: Self
}
