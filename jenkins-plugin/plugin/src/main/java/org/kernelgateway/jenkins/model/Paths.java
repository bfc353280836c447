package org.kernelgateway.jenkins.model;

/** Paths of files and folders in the workspace. */
public final class Paths {
    private Paths() {}

    /** What is wrong with a path that must lie below the workspace, as a sentence; null if nothing is. */
    public static String problem(String path) {
        if (path.startsWith("/") || path.startsWith("\\") || path.matches("[A-Za-z]:.*")) {
            return "'" + path + "' is absolute; name it relative to the workspace.";
        }
        for (String part : path.split("[/\\\\]")) {
            if (part.equals("..")) {
                return "'" + path + "' leads out of the workspace.";
            }
        }
        return null;
    }

    /** What is wrong with an output folder: as {@link #problem}, and it must be one folder rather than a pattern. */
    public static String folderProblem(String path) {
        if (path.matches("(?s).*[*?,\\\\\\p{Cntrl}].*") || path.replaceAll("[./]", "").isEmpty()) {
            return "'" + path + "' must be a folder below the workspace, without * ? , and \\.";
        }
        return problem(path);
    }

    /** What a run is called unless it is told, as the command has it: the source's file without folders and suffix. */
    public static String nameOf(String source) {
        if (source == null) {
            return "snippet";
        }
        if (source.startsWith("gate:")) {
            return "gate-" + source.substring(5);
        }
        String trimmed = source.replaceAll("/+$", "");
        String file = trimmed.substring(trimmed.lastIndexOf('/') + 1);
        int dot = file.lastIndexOf('.');
        return file.isEmpty() ? "run" : dot > 0 ? file.substring(0, dot) : file;
    }

    /** A run's name as a folder's, as the shared library has it. */
    public static String folderOf(String name) {
        String plain = name.replaceAll("[^A-Za-z0-9._ -]", "_").strip();
        plain = plain.substring(0, Math.min(150, plain.length()));
        return plain.replaceAll("[. ]", "").isEmpty() ? "run" : plain;
    }
}
