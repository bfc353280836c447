package org.kernelgateway.jenkins;

import edu.umd.cs.findbugs.annotations.CheckForNull;
import hudson.ExtensionList;
import hudson.ExtensionPoint;
import hudson.Util;
import hudson.model.Item;
import hudson.model.ItemGroup;

/** What a folder sets for the jobs below it. */
final class FolderSettings {
    final ItemGroup<?> folder;
    final String gateway;
    final String credentialsId;

    FolderSettings(ItemGroup<?> folder, @CheckForNull String gateway, @CheckForNull String credentialsId) {
        this.folder = folder;
        this.gateway = Util.fixEmptyAndTrim(gateway);
        this.credentialsId = Util.fixEmptyAndTrim(credentialsId);
    }

    /** The settings of the nearest folder that has some; null if none has, or there are no folders here. */
    @CheckForNull
    static FolderSettings nearest(Item item) {
        ItemGroup<?> group = item instanceof ItemGroup ? (ItemGroup<?>) item : item.getParent();
        while (group != null) {
            for (Source source : ExtensionList.lookup(Source.class)) {
                FolderSettings settings = source.of(group);
                if (settings != null) {
                    return settings;
                }
            }
            group = group instanceof Item ? ((Item) group).getParent() : null;
        }
        return null;
    }

    /** Reads a folder's settings; there is one where the plugin cloudbees-folder is. */
    interface Source extends ExtensionPoint {
        @CheckForNull
        FolderSettings of(ItemGroup<?> group);
    }
}
