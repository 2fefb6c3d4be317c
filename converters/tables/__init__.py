"""What a family's table is written with: rules, transforms, resizing, sizes and settings."""
