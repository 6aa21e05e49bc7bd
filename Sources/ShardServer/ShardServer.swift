@main
enum ShardServerCommand { static func main() {} }
