/// The version of the program, which is coordinator, shard server and worker in one (`--version`).
public let programVersion = "0.2.0"
