// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

// What is unsafe is written so, and what is handed out is bound to what it is of.
let strictSettings = settings + [.strictMemorySafety(), .enableExperimentalFeature("Lifetimes")]
// Tests do not compute: what is slow runs in the libraries. Unoptimised, they are compiled in less than half the time.
let testSettings = settings + [.unsafeFlags(["-Onone"])]

let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

let package = Package(
    name: "PartialFC",
    products: [
        // One program under three names: Sources/Programs.
        .executable(name: "coordinator", targets: ["Programs"]),
        .executable(name: "shard-server", targets: ["Programs"]),
        .executable(name: "worker", targets: ["Programs"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
    ],
    targets: [
        // Sources/C: libraries (headers and link flags only), the generated code of the messages, the kernels.
        .systemLibrary(name: "CZeroMQ", path: "Sources/C/CZeroMQ", providers: [.apt(["libzmq3-dev"])]),
        .systemLibrary(
            name: "COpenBLAS", path: "Sources/C/COpenBLAS", pkgConfig: "openblas",
            providers: [.apt(["libopenblas-dev"])]),
        .systemLibrary(
            name: "CProtobufC", path: "Sources/C/CProtobufC", pkgConfig: "libprotobuf-c",
            providers: [.apt(["libprotobuf-c-dev"])]),
        .systemLibrary(name: "COneDNN", path: "Sources/C/COneDNN", providers: [.apt(["libdnnl-dev"])]),
        .systemLibrary(
            name: "CFreeType", path: "Sources/C/CFreeType", pkgConfig: "freetype2",
            providers: [.apt(["libfreetype-dev"])]),
        .systemLibrary(
            name: "CJPEG", path: "Sources/C/CJPEG", pkgConfig: "libjpeg", providers: [.apt(["libjpeg62-turbo-dev"])]),
        .systemLibrary(
            name: "CWebP", path: "Sources/C/CWebP", pkgConfig: "libwebp", providers: [.apt(["libwebp-dev"])]),
        .systemLibrary(
            name: "CISAL", path: "Sources/C/CISAL", pkgConfig: "libisal", providers: [.apt(["libisal-dev"])]),
        .systemLibrary(name: "CPNG", path: "Sources/C/CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),
        // Hot loops. -ffp-contract=off: the same bits whatever the compiler fuses.
        .target(
            name: "CKernels", path: "Sources/C/CKernels", cSettings: [.unsafeFlags(["-O3", "-ffp-contract=off"])]),
        // Rows of signed bytes and their products.
        .target(name: "CRows", path: "Sources/C/CRows", cSettings: [.unsafeFlags(["-O3", "-ffp-contract=off"])]),
        .target(
            name: "CInference", path: "Sources/C/CInference",
            cSettings: [.unsafeFlags(["-O3", "-ffp-contract=off"])]),
        .target(
            name: "CWire", dependencies: ["CProtobufC"], path: "Sources/C/CWire", exclude: ["wire.proto"]),
        .target(
            name: "COnnx", dependencies: ["CProtobufC"], path: "Sources/C/COnnx", exclude: ["onnx.proto"]),
        // JPEG and PNG, whose libraries report errors by longjmp.
        .target(
            name: "CPictures", dependencies: ["CJPEG", "CPNG"], path: "Sources/C/CPictures",
            cSettings: [.unsafeFlags(["-O2"])]),

        // Sources/Core
        // The words that all rooms share.
        .target(name: "Cluster", path: "Sources/Core/Cluster", swiftSettings: settings),
        .target(
            name: "Determinism", dependencies: ["CKernels", "Cluster"], path: "Sources/Core/Determinism",
            swiftSettings: settings),
        .target(
            name: "Tensors", dependencies: ["CKernels"], path: "Sources/Core/Tensors", swiftSettings: strictSettings),
        .target(
            name: "ProcessSupport", dependencies: ["CKernels", logging], path: "Sources/Core/ProcessSupport",
            swiftSettings: settings),
        // Endpoints, hosts and ports: one parser for every option, and one printer.
        .target(name: "NetworkAddress", path: "Sources/Core/NetworkAddress", swiftSettings: settings),
        .target(
            name: "Succession", dependencies: [], path: "Sources/Core/Succession", swiftSettings: settings),
        .target(
            name: "StepProtocol", dependencies: ["Cluster", "Determinism", "Succession"],
            path: "Sources/Core/StepProtocol",
            // The machines are generic: specialised where they are used, they take half the time (10,000 simulated schedules: 84 s for 170 s).
            swiftSettings: settings + [.unsafeFlags(["-cross-module-optimization"])]),

        // Sources/Wire, Sources/ClusterKeys, Sources/Monitoring
        .target(
            name: "Wire",
            dependencies: [
                "CKernels", "CWire", "CZeroMQ", "Cluster", "NetworkAddress", "ProcessSupport", "StepProtocol",
                "Succession", "Tensors",
            ],
            path: "Sources/Wire", exclude: ["PROTOCOL.md"], swiftSettings: settings),
        // Key files and key sets, and the options that name them.
        .target(
            name: "ClusterKeys", dependencies: ["ProcessSupport", "Wire", arguments], path: "Sources/ClusterKeys",
            swiftSettings: settings),
        // HTTP for pages that are only read, and the text format of Prometheus.
        .target(
            name: "Monitoring", dependencies: ["NetworkAddress", "OperatorStatus", "ProcessSupport"],
            path: "Sources/Monitoring", swiftSettings: settings),

        // Sources/State
        .target(
            name: "ParameterStore",
            dependencies: ["CISAL", "CKernels", "Cluster", "Determinism", "ProcessSupport", "Tensors"],
            path: "Sources/State/ParameterStore", swiftSettings: settings),
        .target(
            name: "CoordinatorStore",
            dependencies: [
                "Cluster", "ProcessSupport", "StepProtocol", "Succession",
                .product(name: "GRDB", package: "GRDB.swift"),
            ],
            path: "Sources/State/CoordinatorStore", swiftSettings: settings),

        // Sources/Learning
        .target(
            name: "Model", dependencies: ["CKernels", "Cluster", "Determinism", "ParameterStore", "Tensors"],
            path: "Sources/Learning/Model", swiftSettings: settings),
        .target(
            name: "PartialFC",
            dependencies: ["CKernels", "COpenBLAS", "Cluster", "Determinism", "Model", "ParameterStore", "Tensors"],
            path: "Sources/Learning/PartialFC", swiftSettings: settings),
        .target(
            name: "Dataset", dependencies: ["CKernels", "CPictures", "CWebP", "Determinism", "Tensors"],
            path: "Sources/Learning/Dataset", swiftSettings: settings),
        // Renders glyph data sets with FreeType.
        .target(
            name: "Glyphs", dependencies: ["CFreeType", "Dataset", "Determinism", "ProcessSupport"],
            path: "Sources/Learning/Glyphs", swiftSettings: settings),
        .target(
            name: "Verification",
            dependencies: ["COpenBLAS", "CRows", "Dataset", "Determinism", "ProcessSupport", "Tensors"],
            path: "Sources/Learning/Verification", swiftSettings: settings),
        .target(
            name: "Training", dependencies: ["CKernels", "COneDNN", "Determinism", "Model", "Tensors"],
            path: "Sources/Learning/Training", swiftSettings: settings),
        // Networks as ONNX files: written, and read with nothing in a file trusted.
        .target(
            name: "ONNX", dependencies: ["COnnx", "CProtobufC", "Inference", "Model", "ProcessSupport", "Tensors"],
            path: "Sources/Learning/ONNX", swiftSettings: settings),

        // Networks in use: folded, in single precision or in integers.
        .target(
            name: "Inference", dependencies: ["CInference", "CKernels", "Determinism", "Model", "Tensors"],
            path: "Sources/Learning/Inference", swiftSettings: settings),
        // EasyQuant: the scales with which a network is computed in integers.
        .target(
            name: "Quantization",
            dependencies: ["CKernels", "Determinism", "Inference", "Model", "ProcessSupport", "Tensors"],
            path: "Sources/Learning/Quantization", swiftSettings: settings),

        // Sources/ShardModel
        // What a shard is and keeps: executes what its state machine asks for, on files. No sockets.
        .target(
            name: "ShardModel",
            dependencies: [
                "CKernels", "Cluster", "Model", "ParameterStore", "PartialFC", "ProcessSupport", "StepProtocol",
                "Tensors",
            ], path: "Sources/ShardModel", swiftSettings: settings),

        // Sources/Run
        .target(
            name: "Configuration", dependencies: ["Cluster", .product(name: "Yams", package: "Yams")],
            path: "Sources/Run/Configuration", swiftSettings: settings),
        .target(
            name: "Setup",
            dependencies: [
                "Cluster", "Configuration", "Model", "ONNX", "ParameterStore", "StepProtocol", "Tensors",
            ], path: "Sources/Run/Setup", swiftSettings: settings),
        .target(
            name: "RunData", dependencies: ["Configuration", "Dataset", "ParameterStore", "Tensors"],
            path: "Sources/Run/RunData", swiftSettings: settings),
        .target(
            name: "MemberSupport",
            dependencies: [
                "Cluster", "ClusterKeys", "Monitoring", "NetworkAddress", "ProcessSupport", "StepProtocol", "Wire",
                arguments,
                logging,
            ], path: "Sources/Run/MemberSupport", swiftSettings: settings),

        // Sources/Operator
        .target(name: "OperatorStatus", path: "Sources/Operator/OperatorStatus", swiftSettings: settings),
        // A live screen for a terminal, and other things that need one.
        .target(
            name: "ClusterConsole", dependencies: ["OperatorStatus", "ProcessSupport"],
            path: "Sources/Operator/ClusterConsole", swiftSettings: settings),

        // The programs.
        .target(
            name: "Coordinator",
            dependencies: [
                "CKernels", "CRows", "Cluster", "ClusterConsole", "ClusterKeys", "Configuration", "CoordinatorStore",
                "Determinism", "Model", "Monitoring", "NetworkAddress", "OperatorStatus", "ParameterStore",
                "ProcessSupport", "RunData", "Setup", "StepProtocol", "Succession", "Tensors", "Wire", arguments,
                logging,
            ], path: "Sources/Coordinator",
            resources: [.embedInCode("Pages/index.html"), .embedInCode("Pages/api.schema.json")],
            swiftSettings: settings),
        .target(
            name: "ShardServer",
            dependencies: [
                "Cluster", "Configuration", "MemberSupport", "Model", "Monitoring", "NetworkAddress", "ParameterStore",
                "PartialFC", "ProcessSupport", "Setup", "ShardModel", "StepProtocol", "Succession", "Tensors", "Wire",
                arguments,
                logging,
            ], path: "Sources/ShardServer", swiftSettings: settings),
        .target(
            name: "Worker",
            dependencies: [
                "Cluster", "Configuration", "Dataset", "Determinism", "Glyphs", "Inference", "MemberSupport", "Model",
                "Monitoring", "ONNX", "ParameterStore", "PartialFC", "ProcessSupport", "Quantization", "RunData",
                "Setup", "StepProtocol", "Tensors", "Training", "Verification", "Wire", arguments, logging,
            ], path: "Sources/Worker", swiftSettings: settings),
        .executableTarget(
            name: "Programs",
            dependencies: ["Configuration", "Coordinator", "ProcessSupport", "ShardServer", "Worker", arguments],
            path: "Sources/Programs", swiftSettings: settings),

        // Clusters of real processes, for tests and experiments.
        .target(
            name: "ClusterHarness",
            dependencies: [
                "CZeroMQ", "Cluster", "ClusterKeys", "Determinism", "OperatorStatus", "ProcessSupport", "Tensors",
                "Wire",
            ],
            path: "Benchmarks/ClusterHarness", swiftSettings: settings),
        .executableTarget(
            name: "experiments",
            dependencies: [
                "CKernels", "COneDNN", "COpenBLAS", "Cluster", "ClusterHarness", "ClusterKeys", "Determinism",
                "Inference",
                "Model", "ONNX", "OperatorStatus", "ParameterStore", "PartialFC", "ProcessSupport", "Quantization",
                "StepProtocol", "Tensors",
                "Training", "Wire",
                arguments,
            ],
            path: "Benchmarks/Experiments", swiftSettings: settings),

        // Tags and threads of suites, and files for them.
        .target(
            name: "TestSupport", dependencies: ["ParameterStore", "Tensors"], path: "Tests/TestSupport",
            swiftSettings: testSettings),
        .testTarget(
            name: "ClusterTests",
            dependencies: [
                "Cluster", "ClusterHarness", "ClusterKeys", "Configuration", "Model", "ONNX", "OperatorStatus",
                "ParameterStore",
                "PartialFC", "RunData", "Setup", "StepProtocol", "Tensors", "TestSupport",
                "Wire",
            ],
            swiftSettings: testSettings),
        .testTarget(
            name: "ClusterKeysTests", dependencies: ["ClusterKeys", "TestSupport", "Wire"], swiftSettings: testSettings),
        .testTarget(
            name: "ParameterStoreTests",
            dependencies: ["Cluster", "Determinism", "ParameterStore", "Tensors", "TestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "CoordinatorStoreTests",
            dependencies: [
                "Cluster", "CoordinatorStore", "StepProtocol", "Succession", "TestSupport",
                .product(name: "GRDB", package: "GRDB.swift"),
            ], swiftSettings: testSettings),
        .testTarget(
            name: "CoordinatorTests",
            dependencies: [
                "Cluster", "Coordinator", "Determinism", "Model", "Monitoring", "OperatorStatus", "StepProtocol",
                "Tensors",
                "TestSupport",
            ],
            swiftSettings: testSettings),
        .testTarget(
            name: "TensorsTests", dependencies: ["Determinism", "Tensors", "TestSupport"], swiftSettings: testSettings),
        // They compute references: optimised.
        .testTarget(
            name: "InferenceKernelsTests", dependencies: ["CInference", "Determinism", "TestSupport"],
            exclude: ["Plain"], swiftSettings: settings),
        .testTarget(
            name: "PartialFCTests",
            dependencies: [
                "CKernels", "Cluster", "Determinism", "Model", "ParameterStore", "PartialFC", "Tensors", "TestSupport",
            ],
            swiftSettings: settings),
        .testTarget(
            name: "DatasetTests",
            dependencies: ["Dataset", "Determinism", "Glyphs", "Tensors", "TestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "VerificationTests",
            dependencies: ["CRows", "Dataset", "Tensors", "TestSupport", "Verification"],
            swiftSettings: testSettings),
        .testTarget(
            name: "BackboneTests",
            dependencies: [
                "Cluster", "Determinism", "Model", "ParameterStore", "Tensors", "TestSupport", "Training",
            ],
            exclude: ["Reference"],
            swiftSettings: testSettings),
        .testTarget(
            name: "InferenceTests",
            dependencies: ["Determinism", "Inference", "Model", "Tensors", "TestSupport", "Training"],
            swiftSettings: testSettings),
        .testTarget(
            name: "QuantizationTests",
            dependencies: ["Determinism", "Inference", "Model", "Quantization", "Tensors", "TestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "ONNXTests",
            dependencies: ["Determinism", "Inference", "Model", "ONNX", "Tensors", "TestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "SetupTests",
            dependencies: [
                "Cluster", "Configuration", "Dataset", "Model", "ONNX", "ParameterStore", "RunData", "Setup",
                "StepProtocol", "Tensors", "TestSupport",
            ], swiftSettings: testSettings),
        .testTarget(
            name: "ShardModelTests",
            dependencies: [
                "Cluster", "Configuration", "Determinism", "Model", "ParameterStore", "Setup", "ShardModel",
                "ShardServer", "StepProtocol", "Tensors", "TestSupport",
            ], swiftSettings: testSettings),
        .testTarget(
            name: "MonitoringTests", dependencies: ["ClusterHarness", "Monitoring", "OperatorStatus", "TestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "ClusterConsoleTests", dependencies: ["ClusterConsole", "OperatorStatus", "TestSupport"],
            swiftSettings: testSettings
        ),
        .testTarget(
            name: "NetworkAddressTests", dependencies: ["NetworkAddress", "TestSupport"], swiftSettings: testSettings),
        .testTarget(
            name: "ConfigurationTests", dependencies: ["Configuration", "TestSupport"], swiftSettings: testSettings),
        .testTarget(
            name: "StepProtocolTests", dependencies: ["Cluster", "Determinism", "StepProtocol", "TestSupport"],
            exclude: ["Simulation", "TestData"],
            swiftSettings: testSettings),
        // Thousands of schedules: optimised.
        .testTarget(
            name: "SimulationTests", dependencies: ["Cluster", "Determinism", "StepProtocol", "TestSupport"],
            path: "Tests/StepProtocolTests/Simulation", swiftSettings: settings),
        .testTarget(
            name: "SuccessionTests", dependencies: ["Determinism", "Succession", "TestSupport"], swiftSettings: settings
        ),
        .testTarget(
            name: "ProcessSupportTests", dependencies: ["ProcessSupport", "TestSupport"], swiftSettings: testSettings),
        .testTarget(
            name: "WorkerTests",
            dependencies: [
                "Cluster", "Configuration", "Model", "ONNX", "StepProtocol", "Tensors", "TestSupport", "Wire",
            ],
            swiftSettings: testSettings),
        .testTarget(
            name: "WireTests",
            dependencies: [
                "CZeroMQ", "Cluster", "ClusterHarness", "Determinism", "NetworkAddress", "StepProtocol", "Succession",
                "Tensors",
                "TestSupport", "Wire",
            ],
            swiftSettings: testSettings),
    ]
)
